"""An evaluation of recognition on photos of known people, or on synthetic templates where no photos are given.

To make templates of people's faces is processing of biometric data, whatever it is for: as an audit by group, it runs
under an approved DPIA that names the photos, the model and the purpose. No watchlist is opened. Templates end with the
call; the parts that let an interrupted run go on are sealed, and deleted when the notebook finishes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import ConfigError, InputError, NotFoundError
from crimeface_lib.core.results import Result
from crimeface_lib.governance import BiasReport, audit_bias
from crimeface_lib.metrics import ScoreCounts, clustered_interval, count_all_pairs, quality_by_group
from crimeface_lib.recognition import (
    Calibration,
    Embeddings,
    RecognitionEvaluation,
    Unlinkability,
    calibrate_on_photos,
    embed_in_parts,
    evaluate_recognition,
    evaluate_unlinkability,
    load_calibration,
    load_embedder,
    pair_rows,
    template_rotation,
)
from crimeface_lib.workflow.recognition_photos import ChosenPhotos, Groups, choose_photos, half_of
from crimeface_lib.workflow.shown import Working

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.run import Run

SYNTHETIC = "synthetic templates of invented people"


@dataclass(frozen=True, slots=True, eq=False)
class RecognitionStudy(Result):
    """What an evaluation found, and what it was of.

    Parameters
    ----------
    calibration : behind the likelihood ratios, ``fitted`` here on other people or not; None where the model has none.
    protection : what a turn per application does to these templates; None with fewer than 20 mated comparisons.
    audit : rates by group, None without groups. quality : of all photos, and by group.
    transferred : rates here at thresholds set on the people that the calibration was fitted to; None without a fit.
    threshold : one for all, approved or given. notes : what a reader has to know besides.
    """

    evaluation: RecognitionEvaluation
    calibration: Calibration | None
    fitted: bool
    protection: Unlinkability | None
    audit: BiasReport | None
    quality: pd.DataFrame = field(repr=False)
    transferred: pd.DataFrame | None = field(repr=False)
    failures: pd.DataFrame = field(repr=False)
    threshold: float
    model: str
    version: str
    dataset: str
    protocol: str
    dpia: int | None
    synthetic: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run) -> RecognitionStudy:
        """Return what the config of a run asks for: its photos, or synthetic templates.

        Raises
        ------
        RefusedError : photos, and no approved DPIA covers them. ConfigError, InputError : what doesn't go together.
        """
        from crimeface_lib.synthetic import synthetic_collection

        cfg: Any = run.cfg
        if cfg.photos is None:
            given = [name for name in ("pairs", "fit_pairs", "groups", "dpia", "limit") if getattr(cfg, name)]
            if given:
                raise ConfigError(f"{', '.join(given)}: got it without photos; also give photos=FOLDER")
            made, groups = synthetic_collection(rng=run.rng)
            fit = half_of(np.array(made.subjects), run) if cfg.fit else np.zeros(len(made), dtype=bool)
            return _study(run, made, fitted=fit, evaluated=~fit, groups=groups, protocol=SYNTHETIC)
        embedder = load_embedder(cfg.embed.embedder, device=run.device)
        permit = run.permit("face_search", dataset=cfg.dataset, model=embedder.name, version=embedder.version)
        options = {"threshold": permit.threshold, "dpia": permit.dpia}
        found: RecognitionStudy = run.use(permit, study_photos, embedder, run=run, chosen=choose_photos(run), **options)
        run.used(f"detectors:{cfg.embed.detector}", f"embedders:{embedder.name}")
        return found

    @property
    def curves(self) -> dict[str, Any]:
        """The DET curve by name; none where no threshold makes errors of both kinds."""
        curve = self.evaluation.verification.curve
        both = (curve.fmr > 0) & (curve.fnmr > 0) & (curve.fmr < 1) & (curve.fnmr < 1)
        return {self.dataset: curve} if both.any() else {}

    def export(self, path: str | Path) -> list[Path]:
        """Write the calibration that was fitted here, as JSON, which a search takes; return the file."""
        if self.calibration is None or not self.fitted:
            raise InputError("calibration: got one that was not fitted here, expected fit=true")
        self.calibration.save(path)
        return [Path(path)]

    def to_frame(self) -> pd.DataFrame:
        """Return every figure as a reader expects it: figure, value with interval, of how many."""
        rows = [(row["figure"], _with_interval(row), row["n"]) for row in self.evaluation.to_frame().to_dict("records")]
        import pandas as pd

        return pd.DataFrame(rows, columns=["figure", f"value ({self.evaluation.level:.0%} interval)", "of"])

    def about(self) -> pd.DataFrame:
        """Return what was evaluated: fact, value."""
        import pandas as pd

        found, used = self.evaluation, self.calibration
        fit = "fitted here, on other people" if self.fitted else "" if used is None else used.dataset
        rows = {
            "model": f"{self.model} {self.version[:12]}…", "data": self.dataset, "how": self.protocol,
            "photos, people": f"{found.images:,} of {found.subjects:,}",
            "without a template": f"{found.failed:,}",
            "likelihood ratios": "none: there is no calibration for this model" if used is None else fit,
            "threshold, one for all groups": f"{self.threshold:.4g}", "DPIA": str(self.dpia or "none needed"),
        }  # fmt: skip
        return pd.DataFrame({"fact": list(rows), "value": list(rows.values())})

    def in_words(self) -> tuple[str, ...]:
        """Return what the report's first block says was found."""
        found = self.evaluation
        eer, fte = found.verification.eer, found.failed / found.images
        said = [
            f"{found.images:,} photos of {found.subjects:,} people: {fte:.2%} gave no template "
            f"({found.fte_low:.2%} to {found.fte_high:.2%}); equal error rate {eer.estimate:.2%} "
            f"({eer.low:.2%} to {eer.high:.2%})."
        ]
        if found.evidence:
            cost = found.evidence.cllr
            said.append(
                f"Cost of the likelihood ratios, Cllr: {cost.estimate:.3f} ({cost.low:.3f} to {cost.high:.3f})."
            )
        if self.protection:
            said.append(self.protection.sentence)
        return tuple(said)

    def cannot_say(self) -> tuple[str, ...]:
        """Return what a reader has to know besides."""
        said = list(self.notes)
        if self.synthetic:
            said.append("Anything about a real method: these templates are synthetic, and nobody is in them.")
        if self.audit is None:
            said.append("Whether it errs more often on some groups: no file says who is of which group.")
        if self.calibration is not None and not self.fitted:
            fit = self.calibration.dataset or "photos that nobody named"
            said.append(f"How the likelihood ratios do on photos unlike these; they were fitted to {fit}.")
        said.append("How it does on other photos, cameras, ages or people than these.")
        return tuple(said)


def study_photos(
    embedder: Any, *, run: Run, chosen: ChosenPhotos, threshold: float, dpia: int | None
) -> RecognitionStudy:
    """Return the evaluation of the photos that were chosen. Call it as ``run.use(permit, study_photos, …)``."""
    cfg: Any = run.cfg
    with Working("photos to templates") as tell:
        made = embed_in_parts(
            embedder, chosen.files, folder=run.scratch("templates"), key=run.store.keys.derive(f"scratch {run.id}"),
            detector=cfg.embed.detector, which=cfg.face, progress=tell,
        )  # fmt: skip
    made = replace(made, subjects=tuple(chosen.people))
    listed = None
    if cfg.pairs is not None and cfg.compare == "listed":
        names = [
            f.relative_to(cfg.photos).as_posix() for f, used in zip(chosen.files, chosen.evaluated, strict=True) if used
        ]
        listed = pair_rows([pair for pair in chosen.pairs if {*pair[:2]} <= {*names}], names)
    protocol = f"face: {cfg.face}; detector: {cfg.embed.detector}"
    return _study(
        run, made, fitted=chosen.fitted, evaluated=chosen.evaluated, groups=chosen.groups, pairs=listed,
        protocol=protocol, threshold=threshold, dpia=dpia,
    )  # fmt: skip


def _study(
    run: Run,
    made: Embeddings,
    *,
    fitted: np.ndarray,
    evaluated: np.ndarray,
    groups: Groups | None,
    protocol: str,
    pairs: Any = None,
    threshold: float | None = None,
    dpia: int | None = None,
) -> RecognitionStudy:
    cfg: Any = run.cfg
    seen = _rows(made, evaluated)
    notes: list[str] = []
    if groups:
        groups = {name: tuple(np.asarray(labels)[evaluated]) for name, labels in groups.items()}
    calibration, train = _calibration(run, made, fitted, protocol, notes)
    options = cfg.evaluate_recognition.model_dump()
    found = evaluate_recognition(seen, pairs=pairs, groups=groups, calibration=calibration, rng=cfg.seed, **options)
    first = _threshold(cfg.threshold if cfg.threshold is not None else threshold, found, notes)
    floor, level = options["floor"], options["level"]
    quality = quality_by_group(seen.quality, ["all photos"] * len(seen), floor=floor, level=level)
    audit = None
    if groups:
        import pandas as pd

        told = np.all([np.asarray(labels) != "" for labels in groups.values()], axis=0)
        quality = pd.concat([quality, found.quality[found.quality["group"] != ""]], ignore_index=True)
        audit = _audit(run, found, groups, threshold=first)
        if not told.all():
            notes.append(
                f"Anything by group about {int((~told).sum()):,} photos: no file says of which group they are."
            )
    return RecognitionStudy(
        evaluation=found, calibration=calibration, fitted=bool(fitted.any()), protection=_protection(seen, run, notes),
        audit=audit, quality=quality, failures=_failures(seen), threshold=first,
        transferred=_transferred(train, found, asked=options["fmr"], level=level) if train else None,
        model=made.embedder, version=made.version, dataset=cfg.dataset, protocol=f"{protocol}; {found.protocol}",
        dpia=dpia, synthetic=cfg.photos is None, notes=tuple(notes),
    )  # fmt: skip


def _threshold(given: float | None, found: RecognitionEvaluation, notes: list[str]) -> float:
    """Return the threshold given or approved; that of the first FMR asked for where none is, or none is below it."""
    rates, lowest = found.verification.rates, float(found.counts.scores[0])
    if given is not None and given > lowest:
        return given
    share = rates["asked"].iloc[0]
    if given is not None:
        notes.append(
            f"Anything at the threshold {given:g}: every comparison reaches it; here it is the one at FMR {share:g}."
        )
    return float(rates["threshold"].iloc[0])


def _rows(made: Embeddings, mask: np.ndarray) -> Embeddings:
    kept = np.flatnonzero(mask)
    return replace(
        made, vectors=made.vectors[kept], quality=made.quality[kept], notes=tuple(made.notes[k] for k in kept),
        failures={row: made.failures[k] for row, k in enumerate(kept.tolist()) if k in made.failures},
        subjects=tuple(made.subjects[k] for k in kept),
    )  # fmt: skip


def _calibration(
    run: Run, made: Embeddings, fitted: np.ndarray, protocol: str, notes: list[str]
) -> tuple[Calibration | None, ScoreCounts | None]:
    """Return the calibration to judge, and the comparisons that it was fitted to where that is done here."""
    cfg: Any = run.cfg
    if fitted.any():
        train = _rows(made, fitted)
        name = f"{cfg.dataset}, {'photos of the list to fit' if cfg.fit_pairs else 'half of the people'}"
        found = calibrate_on_photos(
            train, train.subjects, rng=cfg.seed, at=run.started, dataset=name, protocol=protocol
        )
        return found, count_all_pairs(train.vectors, train.subjects, replicas=0)
    try:
        found = load_calibration(cfg.calibration or made.embedder)
    except NotFoundError:
        if cfg.calibration:
            raise
        notes.append(
            f"Likelihood ratios: no calibration comes with the library for {made.embedder}; fit=true makes one."
        )
        return None, None
    if cfg.calibration is None and found.version != made.version:
        notes.append(
            "Likelihood ratios: the library's calibration is of another version of the model; fit=true makes one."
        )
        return None, None
    return found, None


def _audit(run: Run, found: RecognitionEvaluation, groups: Groups, *, threshold: float) -> BiasReport:
    """Return the rates by group among those whose groups are told."""
    comparisons, enrolments = found.comparisons, found.enrolments
    assert comparisons is not None
    assert enrolments is not None
    for name in groups:
        comparisons = comparisons[(comparisons[f"{name}_a"] != "") & (comparisons[f"{name}_b"] != "")]
        enrolments = enrolments[enrolments[name] != ""]
    cfg: Any = run.cfg
    options = cfg.audit_bias.model_dump()
    return audit_bias(
        comparisons, groups=list(groups), threshold=threshold, enrolments=enrolments, rng=cfg.seed, **options
    )


def _protection(seen: Embeddings, run: Run, notes: list[str]) -> Unlinkability | None:
    """Return what two turns do to these templates, under two throwaway keys."""
    kept = np.isfinite(seen.vectors).all(axis=1)
    people = np.array(seen.subjects)[kept]
    photos = np.unique(people, return_counts=True)[1]
    if (photos * (photos - 1) // 2).sum() < 20:
        notes.append("Whether templates are linked across applications: fewer than 20 comparisons of one person.")
        return None
    turns = [
        template_rotation(run.rng.bytes(32), application=name, dimension=seen.vectors.shape[1])
        for name in ("first application", "second application")
    ]
    return evaluate_unlinkability(seen.vectors[kept], people.tolist(), rotations=(turns[0], turns[1]), rng=run.rng)


def _transferred(
    train: ScoreCounts, found: RecognitionEvaluation, *, asked: Sequence[float], level: float
) -> pd.DataFrame:
    """Return FMR and FNMR at thresholds that others set: how a threshold does where it was not chosen."""
    import pandas as pd

    rates, here, rows = train.error_rates(), found.counts, []
    wanted = {f"FMR {share:g}": int(np.argmax(rates.fmr <= share)) for share in asked}
    wanted["fewest errors, both kinds weighing the same"] = int(np.argmin(rates.fmr + rates.fnmr))
    for what, place in wanted.items():
        threshold = float(rates.thresholds[place])
        above = here.scores >= threshold
        fmr, nonmated = _share(here.nonmated, above), [_share(row, above) for row in here.nonmated_replicas]
        fnmr, mated = _share(here.mated, ~above), [_share(row, ~above) for row in here.mated_replicas]
        either = np.add(nonmated, mated) / 2
        sides = ((fmr, 1, nonmated), (fnmr, 0, mated), ((fmr + fnmr) / 2, 0, either))
        cells = [
            (value, *clustered_interval(
                value, here.pairs[side], replicas=draws, units=here.units[side], subjects=here.subjects, level=level
            ))
            for value, side, draws in sides
        ]  # fmt: skip
        wrong, low, high = cells.pop()
        cells.append((1 - wrong, 1 - high, 1 - low))
        rows.append((what, f"{threshold:.4f}", *(_percent(*cell) for cell in cells)))
    columns = ["set at, on other people", "threshold", "FMR here, %", "FNMR here, %", "right decisions, %"]
    return pd.DataFrame(rows, columns=columns)


def _share(counts: np.ndarray, of: np.ndarray) -> float:
    return float(counts[of].sum() / counts.sum())


def _failures(seen: Embeddings) -> pd.DataFrame:
    """Return how many photos gave no template, by reason; a reason that holds a file's name is told without it."""
    import pandas as pd

    reasons = pd.Series([re.sub(r" \('.*?'\)", "", why) for why in seen.failures.values()], dtype=object)
    return reasons.rename("reason").value_counts().rename("photos").reset_index()


def _with_interval(row: Mapping[Any, Any]) -> str:
    if row["unit"] == "share":
        return f"{_percent(row['value'], row['low'], row['high'])} %"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}) {row['unit']}"


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.2f} ({100 * low:.2f} to {100 * high:.2f})"
