"""Model cards: no model without one, none without a licence we know or without a sheet for its data.

The cards of the models that come with crimeface are YAML files in ``governance/cards``. Figures that this project
measured stand in no card: they are read from the result files (``governance.results``), so they can't go stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.governance.datasheet import Datasheet, bundled_datasheets
from crimeface_lib.governance.dpia import Identifier, Text
from crimeface_lib.governance.results import Measurement, bundled_results
from crimeface_lib.governance.show import labelled, record_html

#: Licences whose terms we have read: SPDX names, or our own word where SPDX has none.
LICENCES: Mapping[str, str] = {
    "MIT": "use and redistribution with notice",
    "BSL-1.0": "Boost: use and redistribution with notice",
    "Apache-2.0": "use and redistribution with notice; patent grant",
    "BSD-3-Clause": "use and redistribution with notice",
    "CC0-1.0": "public domain dedication",
    "LicenseRef-InsightFace-research-only": "non-commercial research only, as InsightFace says of its model packs",
    "LicenseRef-300W-research-only": "non-commercial research only: the training data (300-W) exclude commercial use",
    "LicenseRef-BFM-research-only": "non-commercial research only, under the agreement you signed with its owner",
    "LicenseRef-FLAME-research-only": "non-commercial research only, under the agreement you made with its owner",
    "LicenseRef-Surrey-research-only": "non-commercial research only, under the terms you accepted from its owner",
}

#: Which backends a gated use may run on.
BACKENDS: Mapping[str, str] = {
    "face_search": "embedders", "place_prediction": "place_models", "geographic_profile": "profile_models",
}  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Licences(_Part):
    """Licence of the code that runs the model, and of its weights ("none" where it has none)."""

    code: Text
    weights: Text


class Figure(_Part):
    """A figure that somebody else published or a run found, and how it was measured."""

    figure: Text
    protocol: Text
    by: Text


class Fairness(_Part):
    """Who may be treated worse by the model, how, and what is done about it."""

    group_at_risk: Text
    benefits: Text
    harms: Text
    mitigation: Text

    def __str__(self) -> str:
        return f"{self.group_at_risk}: {self.harms} {self.mitigation}"


class ModelCard(_Part):
    """What a model is, what it may be used for, and what is known of how well it works.

    Parameters
    ----------
    name, version : what a DPIA's scope and a run name.
    backend : the entry point that runs it, ``embedders:dlib``.
    weights_sha256 : file name → SHA-256; empty for a model without weights.
    evaluation : figures published by others; what this project measured is in ``measured``.
    runs : figures that a run of ``evaluate_recognition`` found, on a card that it wrote.
    fairness : who may be treated worse, and what is done about it.
    datasheets : the data that it was trained or measured on, each with a sheet.
    """

    name: Identifier
    version: Identifier
    kind: Literal["detector", "landmarker", "embedder", "morphable model", "place model", "profile model"]
    backend: Annotated[str, Field(pattern=r"^[a-z_]+:[a-z0-9_]+$")]
    licence: Licences
    source: Text
    weights_sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}
    intended_use: Text
    out_of_scope: Annotated[tuple[Text, ...], Field(min_length=1)]
    training_data: Text
    evaluation: tuple[Figure, ...] = ()
    runs: tuple[Figure, ...] = ()
    fairness: Annotated[tuple[Fairness, ...], Field(min_length=1)]
    datasheets: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    caveats: Annotated[tuple[Text, ...], Field(min_length=1)]

    @classmethod
    def from_yaml(cls, text: str) -> ModelCard:
        """Return the card written in ``text``.

        Raises
        ------
        InputError : not YAML, or a field is missing, unknown or impossible.
        """
        try:
            return cls.model_validate(read_yaml(text))
        except (ValidationError, InputError) as error:
            raise InputError(f"not a model card: {error}") from error

    @property
    def unknown_licences(self) -> tuple[str, ...]:
        """Licences of code or weights whose terms we don't know."""
        given = (self.licence.code, self.licence.weights)
        return tuple(licence for licence in given if licence not in LICENCES and licence != "none")

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """What this project measured of the model, from the result files."""
        return tuple(result for result in bundled_results() if result.model == self.name)

    @property
    def research_only(self) -> bool:
        """The weights exclude commercial use; every report that used them says so."""
        return self.licence.weights.endswith("research-only")

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON can hold it."""
        return self.model_dump(mode="json")

    def to_html(self) -> str:
        """Return the card as a table."""
        terms = {f"Licence of the {part}": f"{name} ({LICENCES.get(name, 'no terms')})" for part, name in self.licence}
        none = "By this run only." if self.runs else "Not evaluated here."
        here = [result.in_words() for result in self.measured] or [none]
        runs = {"Found in a run": [f"{f.figure} — {f.protocol} ({f.by})" for f in self.runs]} if self.runs else {}
        others = [f"{f.figure} — {f.protocol} ({f.by})" for f in self.evaluation]
        hashes = [f"{file}: {digest}" for file, digest in self.weights_sha256.items()] or "no weights"
        parts = {
            "Model": {"Kind": self.kind, "Backend": self.backend, "Source": self.source, **terms, "Weights": hashes},
            "Use": labelled({"intended_use": self.intended_use, "out_of_scope": self.out_of_scope}),
            "Evidence": {
                "Training data": self.training_data,
                "Datasheets": self.datasheets,
                "Measured here": here,
                **runs,
                "Published by others": others,
                "Fairness": self.fairness,
                "Caveats": self.caveats,
            },
        }
        note = f"Weights: {LICENCES[self.licence.weights]}." if self.research_only else ""
        return record_html(f"{self.name} {self.version}", parts, note=note)

    def _repr_html_(self) -> str:
        return self.to_html()


@cache
def _bundled_cards() -> tuple[ModelCard, ...]:
    folder = files("crimeface_lib.governance") / "cards"
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return tuple(sorted((ModelCard.from_yaml(text) for text in texts), key=lambda card: card.name))


class ModelRegistry:
    """The models that may be loaded: those with a card, known licences, and a sheet for their data.

    >>> registry = ModelRegistry.bundled()
    >>> registry.require("dlib-resnet").licence.weights
    'CC0-1.0'
    """

    def __init__(self, cards: tuple[ModelCard, ...] = (), datasheets: tuple[Datasheet, ...] | None = None) -> None:
        sheets = bundled_datasheets() if datasheets is None else datasheets
        self.datasheets: dict[str, Datasheet] = {sheet.name: sheet for sheet in sheets}
        self._cards: dict[str, ModelCard] = {}
        for card in cards:
            self.register(card)

    @classmethod
    def bundled(cls) -> ModelRegistry:
        """Return a registry of the cards that come with crimeface."""
        return cls(_bundled_cards())

    @classmethod
    def open(cls, folder: str | Path) -> ModelRegistry:
        """Return the bundled registry with the cards and datasheets (``*.yaml``) that lie in ``folder``, if any.

        Raises
        ------
        InputError : a file that is neither. RefusedError : as for ``register``.
        """
        registry, own = cls.bundled(), []
        for path in sorted(Path(folder).glob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            try:
                if "backend:" in text:
                    own.append(ModelCard.from_yaml(text))
                else:
                    sheet = Datasheet.from_yaml(text)
                    registry.datasheets[sheet.name] = sheet
            except InputError as error:
                raise InputError(f"{path.name}: {error}") from error
        for card in own:
            registry.register(card)
        return registry

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self._cards.values())

    def register(self, card: ModelCard) -> ModelCard:
        """Add a card, so that its model may be loaded.

        Raises
        ------
        RefusedError : a licence we don't know, or data without a sheet.
        InputError : another card has the name.
        """
        if card.unknown_licences:
            raise RefusedError(
                f"{card.name}: licence {', '.join(card.unknown_licences)} is not known; known: {', '.join(LICENCES)}; "
                "find out the terms before loading it"
            )
        if unknown := [name for name in card.datasheets if name not in self.datasheets]:
            raise RefusedError(
                f"{card.name}: no sheet for {', '.join(unknown)}; known: {', '.join(self.datasheets)}; write one"
            )
        if self._cards.get(card.name, card) != card:
            raise InputError(f"{card.name} has another card already; give the other version another name")
        self._cards[card.name] = card
        return card

    def require(self, name: str, *, version: str | None = None, weights: Mapping[str, str] | None = None) -> ModelCard:
        """Return the card of a model that is about to be loaded, by name or by backend (``embedders:dlib``).

        Parameters
        ----------
        version : the card's, or the SHA-256 of one of its weight files; any other is refused.
        weights : file name → SHA-256 of what will be loaded; each must be on the card, with that digest.

        Raises
        ------
        RefusedError : no card, or another version.
        IntegrityError : a weight file that is not the card's.
        """
        card = self._cards.get(name) or next((c for c in self if c.backend == name), None)
        if card is None:
            raise RefusedError(
                f"no model card for {name!r}; there are: {', '.join(self._cards) or 'none'}; register(card) first"
            )
        if version not in (None, card.version, *card.weights_sha256.values()):
            raise RefusedError(
                f"{card.name}: got version {version}, the card is for {card.version}; write a card for it"
            )
        for file, digest in (weights or {}).items():
            if (expected := card.weights_sha256.get(file)) != digest:
                raise IntegrityError(f"{card.name}: {file} has SHA-256 {digest[:16]}…, its card says {expected}")
        return card
