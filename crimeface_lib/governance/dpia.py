"""What a data protection impact assessment says: the content that is approved, and two examples of it.

A DPIA is a value: frozen, complete, hashed as a whole. Who drafted, advised on and approved it is kept
beside it by ``governance.register``; nothing here knows of users or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.hashing import content_hash
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.governance.show import labelled, record_html
from crimeface_lib.metrics import MEASURES

Kind: TypeAlias = Literal["face_search", "place_prediction", "geographic_profile"]
Level: TypeAlias = Literal["low", "medium", "high"]
#: What people write. It may be empty in a draft; ``Dpia.empty_fields`` names each that still is.
Text: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True)]
#: A name a machine compares letter by letter: no spaces, no slashes, so never a path or a sentence.
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,79}$")]

EMPTY = "EMPTY: to be filled in"
_LIKELIHOODS = ("remote", "possible", "probable")
_SEVERITIES = ("minimal", "significant", "severe")
_LEVELS: tuple[Level, ...] = ("low", "medium", "high")
#: What a demonstration may cover: data that we made, or that is in the public domain.
DEMONSTRATION_DATA = ("synthetic-", "sample-")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRef(_Part):
    """A model by name and version, as the code reports them."""

    name: Identifier
    version: Identifier

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Scope(_Part):
    """The part a machine checks before each run: every attribute must equal the run's."""

    kind: Kind
    purpose: Identifier
    datasets: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    models: Annotated[tuple[ModelRef, ...], Field(min_length=1)]


class Processing(_Part):
    """What is done, to whose data, where and for how long."""

    nature: Text
    scope: Text
    context: Text
    purposes: Text
    source: Text
    sharing: Text
    retention: Text
    volume: Text
    area: Text


class Necessity(_Part):
    """Why this processing and no less."""

    lawful_basis: Text
    proportionality: Text
    function_creep: Text
    minimisation: Text
    rights: Text


class Measure(_Part):
    """What is done about a risk, and what is left of it."""

    measure: Text
    effect: Literal["eliminated", "reduced", "accepted"]
    residual: Level
    approved: bool


class Risk(_Part):
    """A harm to people; its levels follow from likelihood × severity and from the measures."""

    risk: Text
    likelihood: Literal["remote", "possible", "probable"]
    severity: Literal["minimal", "significant", "severe"]
    measures: tuple[Measure, ...] = ()

    @property
    def inherent(self) -> Level:
        """Level before measures: product of the two ranks, 1–2 low, 3–4 medium, 6–9 high.

        >>> Risk(risk="r", likelihood="possible", severity="severe").inherent
        'high'
        """
        rank = (1 + _LIKELIHOODS.index(self.likelihood)) * (1 + _SEVERITIES.index(self.severity))
        return "low" if rank <= 2 else "medium" if rank <= 4 else "high"

    @property
    def residual(self) -> Level:
        """Level after measures: the highest any measure leaves; one not approved leaves all of it."""
        levels = [m.residual if m.approved else self.inherent for m in self.measures] or [self.inherent]
        return max(levels, key=_LEVELS.index)


class SignOff(_Part):
    """Posts that answer for the assessment (posts, not people's names)."""

    measures_approver: Text
    residual_risk_approver: Text
    dpo: Text
    reviewer: Text


class Band(_Part):
    """How far apart the groups' error rates may be: a bias report outside raises an alert."""

    measure: Literal[MEASURES]  # type: ignore[valid-type]
    lowest: float
    highest: float

    @model_validator(mode="after")
    def _ends_in_order(self) -> Band:
        if not self.lowest <= self.highest:
            raise ValueError(f"{self.measure}: got {self.lowest} to {self.highest}, expected the lowest first")
        return self

    def __str__(self) -> str:
        return f"{self.measure} {self.lowest:g} to {self.highest:g}"


class FaceProcessing(_Part):
    """What a DPIA on faces says besides.

    ``threshold_change`` is the number of the approved change, where the threshold is not the first one approved.
    """

    regime: Literal["UK GDPR", "DPA 2018 Part 3"]
    sensitive_condition: Text
    appropriate_policy_document: Text
    equality_impact: Text
    algorithm: Identifier
    version: Identifier
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    threshold_change: int | None = None
    watchlist_criteria: Text
    training_data: Text
    differentials: Annotated[tuple[Band, ...], Field(min_length=1)]

    @property
    def bands(self) -> dict[str, tuple[float, float]]:
        """Measure → (lowest, highest) that is approved."""
        return {band.measure: (band.lowest, band.highest) for band in self.differentials}


class Dpia(_Part):
    """A data protection impact assessment.

    Parameters
    ----------
    scope : kind, purpose, datasets and models; a run that differs in one of them is refused.
    faces : needed for ``face_search``, absent for the others.
    regulator_consultation : reference of the consultation that a high residual risk needs.
    demonstration : an example to be rewritten; it may cover ``synthetic-`` and ``sample-`` data only.

    Raises
    ------
    InputError : from ``from_yaml`` and ``from_dict``: a field is missing, unknown or impossible. Words may be empty
        while it is a draft (``empty_fields``).

    >>> template("face_search").residual
    'low'
    """

    title: Text
    demonstration: bool = False
    scope: Scope
    need: Text
    processing: Processing
    consultation: Text
    necessity: Necessity
    risks: Annotated[tuple[Risk, ...], Field(min_length=1)]
    faces: FaceProcessing | None = None
    regulator_consultation: Text | None = None
    sign_off: SignOff

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Dpia:
        if (self.scope.kind == "face_search") != (self.faces is not None):
            raise ValueError(f"faces: needed for face_search and only there, got kind {self.scope.kind}")
        if self.faces and ModelRef(name=self.faces.algorithm, version=self.faces.version) not in self.scope.models:
            raise ValueError(f"faces: algorithm {self.faces.algorithm} {self.faces.version} is not in scope.models")
        real = [d for d in self.scope.datasets if not d.startswith(DEMONSTRATION_DATA)]
        if self.demonstration and real:
            raise ValueError(
                f"datasets: a demonstration covers {' and '.join(DEMONSTRATION_DATA)} data only, got "
                f"{', '.join(real)}; rewrite the assessment and set demonstration: false"
            )
        return self

    @property
    def empty_fields(self) -> tuple[str, ...]:
        """Where words are still missing, such as ``processing.retention``; with one of them it can't be submitted."""
        return tuple(place for place, value in flatten(self.to_dict()).items() if value == "")

    @property
    def residual(self) -> Level:
        """The highest residual level of all risks."""
        return max((risk.residual for risk in self.risks), key=_LEVELS.index)

    @property
    def content_hash(self) -> str:
        """``sha256:<hex>`` of the whole content; an approval binds this."""
        return content_hash(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON can hold it."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the content as YAML that ``from_yaml`` reads back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Dpia:
        """Return the DPIA that ``to_dict`` wrote."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = "; ".join(_complaint(e["loc"], e["msg"]) for e in error.errors())
            raise InputError(f"not a complete DPIA: {lines}") from error

    @classmethod
    def from_yaml(cls, text: str) -> Dpia:
        """Return the DPIA written in ``text``."""
        try:
            content = read_yaml(text)
        except InputError as error:
            raise InputError(f"a DPIA is a YAML mapping; {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"a DPIA is a YAML mapping, got {type(content).__name__}; start from a template")
        return cls.from_dict(content)

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return the whole content under headings a reader knows: heading → {label: text, or a list of texts}."""
        scope, risks = self.scope, {}
        for number, risk in enumerate(self.risks, start=1):
            risks[f"{number}. {risk.inherent} → {risk.residual}"] = [
                f"{risk.risk or EMPTY} ({risk.likelihood}, {risk.severity})",
                *(
                    f"{m.measure or EMPTY} ({m.effect}, leaves {m.residual}{'' if m.approved else ', NOT APPROVED'})"
                    for m in risk.measures
                ),
                *([] if risk.measures else ["No measure: the whole risk remains."]),
            ]
        parts: dict[str, dict[str, Any]] = {
            "Scope (checked before each run)": {
                "Kind": scope.kind,
                "Purpose": scope.purpose,
                "Datasets": scope.datasets,
                "Models": [str(m) for m in scope.models],
            },
            "Need": {"Why": self.need},
            "Processing": labelled(self.processing.model_dump()),
            "Consultation": {"Who was asked": self.consultation},
            "Necessity and proportionality": labelled(self.necessity.model_dump()),
            f"Risks to people (inherent → residual; highest residual: {self.residual})": risks,
        }
        if self.faces:
            faces = self.faces.model_dump()
            change = faces["threshold_change"]
            faces["threshold_change"] = f"change {change}" if change else "none: the first one"
            bands = [f"{d['measure']}: {d['lowest']:g} to {d['highest']:g}" for d in faces.get("differentials", ())]
            faces["differentials"] = bands or ["no band approved"]
            parts["Faces"] = labelled(faces)
        consulted = self.regulator_consultation or "none; needed where the highest residual risk is high"
        parts["Sign-off"] = {
            **labelled(self.sign_off.model_dump()),
            "Regulator consultation": consulted,
            "Content hash": self.content_hash,
        }
        return {h: {k: EMPTY if v == "" else v for k, v in items.items()} for h, items in parts.items()}

    @property
    def note(self) -> str:
        """What must stand above it: that it is a demonstration, or has empty fields."""
        notes = ["A demonstration: rewrite every field before it covers real data."] if self.demonstration else []
        if empty := self.empty_fields:
            notes.append(f"{len(empty)} fields are empty: {', '.join(empty)}.")
        return " ".join(notes)

    def _repr_html_(self) -> str:
        return record_html(self.title or EMPTY, self.parts(), note=self.note)


def flatten(record: Any, place: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their place; empty lists and mappings are leaves.

    >>> flatten({"a": {"b": 1}, "c": ["x", []]})
    {'a.b': 1, 'c.1': 'x', 'c.2': []}
    """
    if isinstance(record, Mapping) and record:
        pairs = ((str(key), value) for key, value in record.items())
    elif isinstance(record, list | tuple) and record:
        pairs = ((str(number), value) for number, value in enumerate(record, start=1))
    else:
        return {place: record}
    return {k: v for key, value in pairs for k, v in flatten(value, f"{place}.{key}" if place else key).items()}


def template_text(kind: Kind) -> str:
    """Return the example DPIA of a kind as commented YAML: what ``crimeface dpia new`` prints.

    Raises
    ------
    InputError : no such kind.
    """
    folder = files("crimeface_lib.governance") / "templates"
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if kind not in known:
        raise InputError(f"no DPIA template {kind!r}; there are: {', '.join(known)}")
    return (folder / f"{kind}.yaml").read_text(encoding="utf-8")


def template(kind: Kind) -> Dpia:
    """Return the example DPIA of a kind, marked as a demonstration."""
    return Dpia.from_yaml(template_text(kind))


def _complaint(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(step) for step in place)
    return f"{where}: {message}" if where else message.removeprefix("Value error, ")
