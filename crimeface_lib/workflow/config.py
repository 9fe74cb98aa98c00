"""Config is one object: YAML → a frozen pydantic model → ``cfg``. Library functions never see it.

Each notebook has a model here and a file ``configs/<notebook>.yaml``. A section named like a function holds
that function's keywords, so ``reconstruct(photo, **cfg.reconstruct.model_dump())`` is all a notebook writes.
Unknown keys are errors; papermill's and the command line's strings get their type from the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from crimeface_lib.core.errors import ConfigError, InputError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.workflow._config_base import RunConfig, Section
from crimeface_lib.workflow._crime_config import (
    CrimeDataConfig,
    CrimeForecastConfig,
    CrimePlacesConfig,
    GridSection,
)
from crimeface_lib.workflow._hotspot_config import CrimeHotspotsConfig, KdeSection
from crimeface_lib.workflow.samples import SAMPLE, has_sample, put_samples


class ReconstructSection(Section):
    model: str = Field("auto", description="auto, ict, builtin or another installed model")
    photometric: bool = Field(True, description="let the pixels refine the shape, and tell light from skin colour")
    texture_size: int = Field(512, ge=64, le=2048)


class PersonSection(ReconstructSection):
    interpupillary_mm: float | None = Field(None, ge=30, le=90, description="between the pupils, if known; fixes size")


class ReconstructConfig(RunConfig):
    notebook: Literal["reconstruct"] = "reconstruct"
    photo: Path = Field(examples=["face.jpg"])
    face: Literal["largest"] | int = Field(
        "largest", description="which face, where there are several; 0 is the largest"
    )
    scan: Path | None = Field(None, description="scan of the same head, to compare with: .ply, .obj, .stl or .glb")
    scan_landmarks: Path | None = Field(None, description="seven or 68 landmarks on the scan, one 'x y z' a line")
    scan_unit: Literal["mm", "cm", "m"] | None = Field(None, description="of both; millimetres, for .glb metres")
    reconstruct: PersonSection = PersonSection()
    formats: tuple[Literal["glb", "obj", "ply", "npz"], ...] = ("glb", "obj", "ply")


class ReconstructManyConfig(RunConfig):
    notebook: Literal["reconstruct_many"] = "reconstruct_many"
    photos: Path = Field(description="folder of photos of one person", examples=["one-person"])
    face: Literal["largest", "central"] | int = Field("largest", description="which face of each photo")
    shared_expression: bool = Field(False, description="the photos show one expression, as frames of one moment do")
    sets: int = Field(8, ge=1, le=100, description="choices of 1, 2, … photos that are fitted to measure the gain")
    reconstruct: PersonSection = PersonSection()
    formats: tuple[Literal["glb", "obj", "ply", "npz"], ...] = ("glb", "obj", "ply")


class EvaluateReconstructionConfig(RunConfig):
    notebook: Literal["evaluate_reconstruction"] = "evaluate_reconstruction"
    photos: Path = Field(description="folder of photos, searched to the bottom", examples=["photos"])
    pairs: Path | None = Field(None, description="only the photos that this list of pairs in LFW's format names")
    limit: int | None = Field(None, ge=1, description="at most so many, spread evenly")
    face: Literal["largest", "central"] | int = Field("central", description="which face of each photo")
    reconstruct: ReconstructSection = ReconstructSection(texture_size=256)


class EmbedSection(Section):
    embedder: str = Field("dlib", description="an installed embedder, or the card (.yaml) of a net in an ONNX file")
    detector: str = "dlib"

    @field_validator("embedder")
    @classmethod
    def _card_from_anywhere(cls, value: str) -> str:
        """A card is looked for from the working directory, then from the checkout; a notebook works elsewhere."""
        if not value.endswith((".yaml", ".yml")) or Path(value).is_absolute():
            return value
        return str(Path(value).resolve() if Path(value).is_file() else load_settings().project_root / value)


class SearchSection(Section):
    top: int = Field(10, ge=1, le=1000)
    mode: Literal["threshold", "rank"] = Field(
        "threshold", description="threshold: entries that reach the approved one; rank: the best, however low"
    )
    index: Literal["exact", "faiss"] = Field("exact", description="faiss is approximate; its recall is then shown")


class RecogniseConfig(RunConfig):
    notebook: Literal["recognise"] = "recognise"
    probe: Path = Field(examples=["probe.jpg"])
    face: Literal["largest"] | int = "largest"
    watchlist: str = Field("default", description="name of the watchlist in the store; the dataset a DPIA names")
    dpia: int | None = Field(
        None, description="number of the DPIA to rely on; the one that covers this use where empty"
    )
    reviewers: tuple[str, ...] = Field((), description="accounts asked to review; whoever may decide where empty")
    calibration: Path | None = Field(
        None, description="calibration for this embedder and photos like these (.json); the library's own where empty"
    )
    embed: EmbedSection = EmbedSection()
    search: SearchSection = SearchSection()


class VerifyPairConfig(RunConfig):
    notebook: Literal["verify_pair"] = "verify_pair"
    photo_a: Path = Field(examples=["scene.jpg"])
    photo_b: Path = Field(examples=["reference.jpg"])
    face_a: Literal["largest"] | int = Field("largest", description="which face of photo A, where there are several")
    face_b: Literal["largest"] | int = "largest"
    dataset: str = Field("case-photos", description="what the photos are, as the DPIA names it")
    dpia: int | None = Field(None, description="number of the DPIA to rely on; the one that covers it where empty")
    calibration: Path | None = Field(None, description="calibration for photos like these (.json)")
    embed: EmbedSection = EmbedSection()
    minimum_quality: float = Field(40.0, ge=0, le=100, description="of the poorer photo; below, nothing is compared")
    regardless: bool = Field(False, description="compare even where a check fails; the page says so")
    other_detectors: tuple[str, ...] = Field((), description="detectors to try besides, to see what the ratio does")
    level: float = Field(0.95, gt=0, lt=1, description="of the interval")
    prior_odds: tuple[float, ...] = Field((), description="a table of prior and posterior odds, only where given")
    verbal: Literal["enfsi"] | None = Field(None, description="words for the ratio, only where rules demand them")

    @field_validator("prior_odds")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < odds < float("inf") for odds in value):
            raise ValueError("expected odds above 0, such as 0.001 for one to a thousand")
        return value

    def without(self) -> tuple[str, ...]:
        return () if self.prior_odds else ("odds",)


class PlacesSection(Section):
    horizon: str = Field("1M", description="how far ahead: 1M is a month; 30D needs data with days")
    model: str = "decayed_counts"


class EvaluateSection(Section):
    horizon: str = "1M"
    models: tuple[str, ...] = ("decayed_counts", "counts", "kde")


class CrimeOverviewConfig(CrimeDataConfig):
    notebook: Literal["crime_overview"] = "crime_overview"
    groups: Path | None = Field(
        None, description="CSV of area (LSOA code) and group: how the forecast falls on the groups is then shown"
    )
    cutoffs: int = Field(6, ge=2, le=36, description="how many past months the forecast is tried on")
    make_grid: GridSection = GridSection()
    kde: KdeSection = KdeSection()
    predict_places: PlacesSection = PlacesSection()
    evaluate_places: EvaluateSection = EvaluateSection()

    def without(self) -> tuple[str, ...]:
        return ("groups",) * (self.groups is None) + ("forecast",) * (not self.predict)


class CaseReportConfig(RunConfig):
    notebook: Literal["case_report"] = "case_report"
    photo: Path = Field(description="photo to reconstruct in 3D", examples=["face.jpg"])
    probe: Path | None = Field(None, description="photo to search with; the same photo where empty")
    crime: Path = Field(examples=["police.zip"])
    groups: Path | None = Field(None, description="table of groups of areas for crime_overview.ipynb")
    reconstruct: dict[str, Any] = Field(default_factory=dict, description="overrides for reconstruct.ipynb")
    recognise: dict[str, Any] = Field(default_factory=dict, description="overrides for recognise.ipynb")
    crime_overview: dict[str, Any] = Field(default_factory=dict, description="overrides for crime_overview.ipynb")


class EvidenceCaseConfig(RunConfig):
    notebook: Literal["evidence_case"] = "evidence_case"
    files: Path | None = Field(None, description="file or folder to take in for the case; nothing where empty")
    kind: str = Field("file", description="what those files are: photo, extract, video, …")
    checkpoint: Path | None = Field(None, description="checkpoint of the custody record that was held elsewhere")
    package: Path | None = Field(None, description="new folder or .zip to write the case into, decrypted")
    recipient: str | None = Field(None, description="who will get the package")


class DpiaConfig(RunConfig):
    notebook: Literal["dpia"] = "dpia"
    number: int | None = Field(None, ge=1, description="which assessment; the newest where empty")


class AuditBiasSection(Section):
    minimum: int = Field(30, ge=1, description="no rate from fewer comparisons")
    alpha: float = Field(0.5, ge=0, le=1, description="weight of FMR in the summary measures")
    level: float = Field(0.95, gt=0, lt=1, description="of all intervals")
    replicas: int = Field(500, ge=20, le=10_000, description="resamplings behind the intervals")


class BiasAuditConfig(RunConfig):
    notebook: Literal["bias_audit"] = "bias_audit"
    comparisons: Path | None = Field(None, description="CSV: score, mated, <attribute>_a, <attribute>_b; a row each")
    photos: Path | None = Field(None, description="folder of photos, to be compared here; needs pairs and groups")
    pairs: Path | None = Field(None, description="which photos to compare, in the format of LFW's pairs")
    groups: Path | None = Field(None, description="CSV: person, and a column an attribute; nothing is guessed")
    limit: int | None = Field(None, ge=1, description="at most so many pairs, spread evenly")
    face: Literal["largest", "central"] | int = Field("central", description="which face of each photo")
    attributes: tuple[str, ...] = Field(("group",), min_length=1, description="the attributes to compare")
    threshold: float | None = Field(None, description="one for all groups; that of the DPIA where empty")
    model: str = Field("synthetic-scores", description="what made the scores, as its DPIA names it")
    version: str = "1"
    dataset: str = Field("synthetic-scores", description="id of the data, as its DPIA names it")
    protocol: str = Field("", description="how the comparisons were made, in words")
    dpia: int | None = Field(None, description="DPIA whose approved band the report is held against")
    measure: str = Field("garbe", description="the measure whose course over all reports is drawn")
    keep: bool = Field(True, description="keep the report in the bias register")
    embed: EmbedSection = EmbedSection()
    audit_bias: AuditBiasSection = AuditBiasSection()


class EvaluateRecognitionSection(Section):
    fmr: tuple[float, ...] = Field((1e-2, 1e-3, 1e-4), min_length=1, description="where FNMR is stated")
    ranks: tuple[int, ...] = Field((1, 5, 10, 20, 50), min_length=1, description="where misses of a search are stated")
    fpir: tuple[float, ...] = Field((0.1, 0.01), description="false alarms of a search where its misses are stated")
    floor: float = Field(20.0, ge=0, le=100, description="quality below which a gate would turn a photo away")
    replicas: int = Field(200, ge=20, le=10_000, description="resamplings behind the intervals")
    level: float = Field(0.95, gt=0, lt=1, description="of all intervals")


class EvaluateRecognitionConfig(RunConfig):
    notebook: Literal["evaluate_recognition"] = "evaluate_recognition"
    photos: Path | None = Field(None, description="folder with a folder for each person; synthetic where empty")
    pairs: Path | None = Field(None, description="only the photos that this list of pairs in LFW's format names")
    compare: Literal["listed", "all"] = Field("listed", description="with pairs: those, or each photo with each")
    fit: bool = Field(False, description="fit a calibration first, on other people")
    fit_pairs: Path | None = Field(None, description="list of the photos to fit it on; half of the people where empty")
    groups: Path | None = Field(None, description="CSV: person, and a column an attribute; nothing is guessed")
    attributes: tuple[str, ...] = Field(("group",), min_length=1, description="the columns of groups to compare")
    limit: int | None = Field(None, ge=4, description="at most so many people of a list or folder, spread evenly")
    face: Literal["largest", "central"] | int = Field("central", description="which face of each photo")
    threshold: float | None = Field(None, description="one for all groups; that of the DPIA where empty")
    dataset: str = Field("synthetic-watchlist", description="id of the photos, as their DPIA names it")
    dpia: int | None = Field(None, description="number of the DPIA to rely on; the one that covers it where empty")
    calibration: Path | None = Field(None, description="the one to judge (.json); the library's own where empty")
    embed: EmbedSection = EmbedSection()
    evaluate_recognition: EvaluateRecognitionSection = EvaluateRecognitionSection()
    audit_bias: AuditBiasSection = AuditBiasSection()

    @model_validator(mode="after")
    def _fits_together(self) -> EvaluateRecognitionConfig:
        if self.fit_pairs and not (self.fit and self.pairs):
            raise ValueError("fit_pairs: got it without pairs and fit=true, expected all three")
        if self.fit and self.calibration:
            raise ValueError("calibration: got one beside fit=true, expected one of them")
        return self

    def without(self) -> tuple[str, ...]:
        return () if self.fit else ("fit",)


class GovernanceReviewConfig(RunConfig):
    notebook: Literal["governance_review"] = "governance_review"
    since: date | None = Field(None, description="first day (UTC); from the beginning where empty")
    until: date | None = Field(None, description="last day (UTC); today where empty")
    checkpoint: Path | None = Field(None, description="checkpoint.json of a run, or a folder of such, held elsewhere")
    measure: str = Field("garbe", description="the differential whose course over all reports is drawn")


class CompareRunsConfig(RunConfig):
    notebook: Literal["compare_runs"] = "compare_runs"
    runs: tuple[str, ...] = Field(
        min_length=2,
        description="ids of the runs to compare, as the list of runs has them",
        examples=[["20261122-101500-crime-overview", "20261122-103000-crime-overview"]],
    )


CONFIGS: dict[str, type[RunConfig]] = {
    str(model.model_fields["notebook"].default): model
    for model in (
        ReconstructConfig,
        ReconstructManyConfig,
        EvaluateReconstructionConfig,
        EvaluateRecognitionConfig,
        RecogniseConfig,
        VerifyPairConfig,
        CrimeOverviewConfig,
        CrimeHotspotsConfig,
        CrimeForecastConfig,
        CrimePlacesConfig,
        CaseReportConfig,
        EvidenceCaseConfig,
        DpiaConfig,
        BiasAuditConfig,
        GovernanceReviewConfig,
        CompareRunsConfig,
    )
}


def input_fields(cfg: RunConfig) -> tuple[str, ...]:
    """Return the fields that hold an input's path, which can hold a name: reports show role and hash instead."""
    return tuple(name for name, value in cfg if isinstance(value, Path) and name not in {"run", "store"})


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overrides`` laid over it, deeply. A key "a.b" reaches into section "a".

    >>> merge({"grid": {"cell": 250, "pad": 1}}, {"grid.cell": 100})
    {'grid': {'cell': 100, 'pad': 1}}
    """
    merged = dict(base)
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        if rest:
            value, key = {rest: value}, head
        if isinstance(value, Mapping):
            below = merged.get(key)
            value = merge(below if isinstance(below, Mapping) else {}, value)
        merged[key] = value
    return merged


def config_path(notebook: str, *, settings: Settings | None = None) -> Path:
    """Return ``configs/<notebook>.yaml`` of this checkout."""
    settings = settings or load_settings()
    path = settings.project_root / "configs" / f"{notebook}.yaml"
    if notebook not in CONFIGS or not path.is_file():
        raise ConfigError(f"no notebook {notebook!r}; there are: {', '.join(CONFIGS)} (looked in {path.parent})")
    return path


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Any:
    """Return the config model of a YAML file with ``overrides`` laid over it.

    Parameters
    ----------
    path : YAML file; a relative path is taken from the working directory, then from the checkout.
    overrides : keys may reach into sections with a dot ("make_grid.cell").

    Raises
    ------
    ConfigError : no such file, not YAML, an unknown or ill-typed key; each is named with what was expected.
    """
    if not isinstance(overrides, Mapping | None):  # papermill's -p hands text on as it is
        raise ConfigError(
            f"overrides: got {overrides!r}, expected a mapping; papermill: -y 'overrides: {{photo: face.jpg}}'"
        )
    file = Path(path)
    if not file.is_absolute() and not file.is_file():
        file = load_settings().project_root / file
    try:
        base = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise ConfigError(f"config {path}: {error}") from error
    if not isinstance(base, dict) or base.get("notebook") not in CONFIGS:
        raise ConfigError(f"config {path}: expected a mapping with 'notebook:' one of {', '.join(CONFIGS)}")
    return build_config(put_samples(merge(base, overrides or {}), CONFIGS[base["notebook"]]))


def build_config(values: Mapping[str, Any]) -> Any:
    """Return the model for ``values["notebook"]``, or a ConfigError that lists every problem."""
    model = CONFIGS[values["notebook"]]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        missing = [str(one["loc"][0]) for one in found if one["type"] == "missing" and len(one["loc"]) == 1]
        problems = [_missing(missing, model)] if missing else []
        problems += [_explain(one, model) for one in found if one["loc"][:1] not in {(name,) for name in missing}]
        raise ConfigError(f"{values['notebook']}: {'; '.join(problems)}") from error


def _missing(names: list[str], model: type[RunConfig]) -> str:
    """Say which parameters are missing, and how to give them in a terminal and in a notebook."""
    one = len(names) == 1
    what = f"parameter{'' if one else 's'} {' and '.join(map(repr, names))} {'is' if one else 'are'} missing"
    flags = " ".join(f"-p {name}=VALUE" for name in names)
    example = json.dumps({name: (model.model_fields[name].examples or ["VALUE"])[0] for name in names})
    sample = f'; "{SAMPLE}" as value tries the page on sample input' if has_sample(names[0], model) else ""
    return f"{what}; give {'it' if one else 'them'} with {flags}, in a notebook with overrides = {example}{sample}"


def _explain(problem: Any, model: type[RunConfig]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if not where:  # the parts do not fit together; the message names them
        return str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown parameter {where!r}; known: {', '.join(model.model_fields)}"
    if problem["type"] == "missing":
        return f"parameter {where!r} is missing; give it with -p {where}=VALUE"
    return f"parameter {where!r}: got {problem['input']!r}, {problem['msg'][0].lower()}{problem['msg'][1:]}"
