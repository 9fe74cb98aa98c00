"""Where an audit of error rates gets its comparisons: a table of scores, labelled photos, or scores with a known truth.

Groups come from the user's file and from nowhere else: nothing here guesses what group anybody belongs to. To compare
photos of people by group is processing of biometric data, whatever it is for: it runs under an approved DPIA that names
the data and the model, as a face search does. Scores that were made elsewhere had theirs there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import ConfigError, InputError, NotFoundError, SchemaError
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.governance import BiasReport, StoredBiasReport, audit_bias
from crimeface_lib.governance.bias import CROSS
from crimeface_lib.metrics import MEASURES, differentials
from crimeface_lib.reporting.bias_figures import MEASURE_NAMES
from crimeface_lib.workflow.shown import Working

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.run import Run


@dataclass(frozen=True, slots=True)
class BiasStudy:
    """Comparisons to audit, what they are of, and the truth where it is known.

    Parameters
    ----------
    comparisons, enrolments : as ``governance.audit_bias`` takes them. threshold : one for all groups.
    model, version, dataset, protocol : what a kept report says of them.
    truth : attribute group, FMR, FNMR; None with real data, where nobody knows it.
    left_out : comparisons without a group for one of their sides.
    """

    comparisons: pd.DataFrame
    enrolments: pd.DataFrame | None
    threshold: float
    model: str
    version: str
    dataset: str
    protocol: str
    dpia: int | None
    truth: pd.DataFrame | None = None
    left_out: int = 0

    @classmethod
    def of(cls, run: Run) -> BiasStudy:
        """Return what the config of a run asks for: its table, its photos, or synthetic scores.

        Raises
        ------
        RefusedError : photos, and no approved DPIA covers them. ConfigError : parameters that don't go together.
        """
        cfg: Any = run.cfg
        if cfg.comparisons and cfg.photos:
            raise ConfigError("comparisons and photos: got both, expected one of them")
        return _of_table(run) if cfg.comparisons else _of_photos(run) if cfg.photos else _synthetic(run)

    def audit(self, run: Run) -> BiasReport:
        """Return the error rates by group, with the settings of the run."""
        cfg: Any = run.cfg
        return audit_bias(
            self.comparisons, groups=cfg.attributes, threshold=self.threshold, enrolments=self.enrolments,
            rng=run.rng, **cfg.audit_bias.model_dump(),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Return what was compared: fact, value."""
        import pandas as pd

        table = self.comparisons
        mated = table["mated"].astype(bool)
        rows = [
            ("model", f"{self.model} {self.version[:12]}"), ("data", self.dataset), ("protocol", self.protocol),
            ("mated comparisons", f"{mated.sum():,}"), ("non-mated comparisons", f"{(~mated).sum():,}"),
            ("comparisons that failed", f"{table['score'].isna().sum():,}"),
            ("left out, without a group", f"{self.left_out:,}"), ("threshold, one for all", f"{self.threshold:g}"),
            ("DPIA", self.dpia or "none"),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["fact", "value"])

    def rate_table(self, report: BiasReport) -> pd.DataFrame:
        """Return the rates as a reader expects them, in per cent with intervals."""
        return rate_table(report)

    def measure_table(self, report: BiasReport) -> pd.DataFrame:
        """Return the measures under names that say what they are."""
        return measure_table(report)

    def band_table(self, stored: StoredBiasReport) -> pd.DataFrame:
        """Return each measure beside its approved band."""
        frame = stored.to_frame()[["attribute", "measure", "value", "low", "high", "band_low", "band_high", "state"]]
        return frame.assign(measure=frame["measure"].map(MEASURE_NAMES)).round(4)

    def compare(self, report: BiasReport) -> pd.DataFrame | None:
        """Return what was found beside the truth; None where nobody knows it."""
        return None if self.truth is None else compare_with_truth(report, self.truth)

    def trend(self, run: Run) -> pd.DataFrame:
        """Return the config's measure over all kept reports on this model and data; no row if none has it."""
        import pandas as pd

        cfg: Any = run.cfg
        about = {"attribute": cfg.attributes[0], "model": self.model, "dataset": self.dataset}
        try:
            return run.store.bias.trend(cfg.measure, **about).to_frame()
        except NotFoundError:
            return pd.DataFrame()

    def in_words(self, report: BiasReport, stored: StoredBiasReport | None) -> tuple[str, ...]:
        """Return what the report's first block says was found."""
        said = [line for attribute in report.withheld for line in worst_and_best(report, attribute)]
        if self.truth is not None:
            inside = compare_with_truth(report, self.truth)["inside"]
            said.append(f"{inside.sum()} of {len(inside)} intervals hold the true value, which is known here.")
        if stored:
            said.append(f"Kept as bias report {stored.id}.")
            said += [f"Outside its approved band: {alert.in_words()}." for alert in stored.alerts]
            states = set(stored.to_frame()["state"])
            said += ["Every measure with a band is within it."] if "within" in states and not stored.alerts else []
            said += [] if states or not stored.bands else ["No measure is known, so none can be held against its band."]
        return tuple(said)

    def cannot_say(self, report: BiasReport, stored: StoredBiasReport | None) -> tuple[str, ...]:
        """Return what a reader has to know besides."""
        said = [
            f"Anything about {', '.join(groups)} (by {name}): too few comparisons, which is not 'no difference'."
            for name, groups in report.withheld.items()
            if groups
        ]
        said += ["Why rates differ, or what they would be for other photos, cameras or people."]
        if report.resampled == "comparisons":
            said.append(
                "How much wider intervals would be if people occur more than once: nobody said who was compared."
            )
        if stored is None or not stored.bands:
            said.append("Whether the differences are acceptable: no DPIA's band was given to hold them against.")
        if self.truth is not None:
            said.append("Anything about a real method: these scores are synthetic.")
        return tuple(said)

    def keep(self, run: Run, report: BiasReport) -> StoredBiasReport:
        """Keep a report in the store's register, held against the band of the DPIA, and tell of what is outside."""
        from crimeface_lib.workflow.notices import tell_of_differentials

        stored = run.store.bias.add(
            report, model=self.model, version=self.version, dataset=self.dataset, protocol=self.protocol,
            actor=run.actor, dpia=self.dpia,
        )  # fmt: skip
        run.cannot_say(*(f"Nobody was told by mail: {line}" for line in tell_of_differentials(run.store, stored)))
        return stored


def rate_table(report: BiasReport) -> pd.DataFrame:
    """Return the rates as a reader expects them, in per cent with intervals."""
    import pandas as pd

    rows = []
    for row in report.rates.to_dict("records"):
        rates = [_rate(row, rate) for rate in ("FMR", "FNMR", "FTE")]
        rows.append((row["attribute"], row["group"], row["nonmated"], rates[0], row["mated"], *rates[1:]))
    columns = ["attribute", "group", "non-mated", "FMR, % (interval)", "mated", "FNMR, % (interval)"]
    frame = pd.DataFrame(rows, columns=[*columns, "failed to enrol, % (interval)"])
    return frame if report.rates["attempts"].any() else frame[columns]


def measure_table(report: BiasReport) -> pd.DataFrame:
    """Return the measures under names that say what they are."""
    frame = report.measures()
    return frame.assign(measure=frame["measure"].map(MEASURE_NAMES)).round(4)


def compare_with_truth(report: BiasReport, truth: pd.DataFrame) -> pd.DataFrame:
    """Return what an audit found beside what is true: a row a rate and a measure.

    Parameters
    ----------
    truth : group, FMR, FNMR, as ``synthetic.SyntheticScores.truth``.

    Returns
    -------
    what, truth, found, low, high, inside : whether the interval holds the truth.
    """
    import pandas as pd

    rows = []
    known = truth.set_index("group")
    for row in report.rates.to_dict("records"):
        for rate in ("FMR", "FNMR"):
            if row[rate] == row[rate] and row["group"] in known.index:
                ends = row[f"{rate}_low"], row[f"{rate}_high"]
                rows.append((f"{rate} of {row['group']}", known.loc[row["group"], rate], row[rate], *ends))
    for attribute, found in report.differentials.items():
        real = known.loc[list(found.groups)]
        true = differentials(real["FMR"], real["FNMR"], groups=found.groups, alpha=found.alpha)
        ends_of = report.intervals[attribute]
        rows += [(MEASURE_NAMES[m], getattr(true, m), getattr(found, m), *ends_of[m]) for m in MEASURES]
    frame = pd.DataFrame(rows, columns=["what", "truth", "found", "low", "high"])
    return frame.assign(inside=(frame["low"] <= frame["truth"]) & (frame["truth"] <= frame["high"]))


def worst_and_best(report: BiasReport, attribute: str) -> list[str]:
    """Return in words which group of an attribute errs most and least often, for FMR and for FNMR."""
    rates = report.rates[report.rates["attribute"] == attribute]
    within = rates[~rates["group"].str.contains(CROSS, regex=False)]
    said = []
    for rate, words in (("FMR", "wrongly taken for each other"), ("FNMR", "missed")):
        known = within.dropna(subset=[rate]).sort_values(rate)
        if len(known) < 2:
            said.append(f"By {attribute}: {rate} is known of {len(known)} group, so nothing can be compared.")
            continue
        best, worst = known.iloc[0], known.iloc[-1]
        if best[rate] == worst[rate]:
            said.append(f"By {attribute}: {rate} is {100 * best[rate]:.2g} % in every group that it is known of.")
            continue
        apart = worst[f"{rate}_low"] > best[f"{rate}_high"]
        said.append(
            f"By {attribute}: people of {worst['group']} are most often {words} ({rate} {100 * worst[rate]:.2g} %), "
            f"people of {best['group']} least ({100 * best[rate]:.2g} %); their intervals "
            f"{'do not overlap' if apart else 'overlap, so this may be chance'}."
        )
    return said


def read_table(path: str | Path, *, booleans: Sequence[str]) -> pd.DataFrame:
    """Return a CSV as a frame; the columns named must say true or false.

    Raises
    ------
    InputError : not a readable CSV, or another word in such a column.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable CSV ({error})") from error
    words = {"true": True, "1": True, "false": False, "0": False}
    for name in (column for column in booleans if column in frame):
        said = frame[name].astype(str).str.strip().str.lower()
        if unknown := sorted(set(said) - set(words)):
            raise InputError(f"{path}: column {name}: got {unknown[0]!r}, expected true or false")
        frame[name] = said.map(words).astype(bool)
    return frame


def read_groups(path: str | Path, *, attributes: Sequence[str]) -> pd.DataFrame:
    """Return who belongs to which groups, as the user's file says: a row a person, a column an attribute.

    Raises
    ------
    InputError : not a readable CSV. SchemaError : a column is missing, or a person stands there twice.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"groups: not a readable CSV ({error})") from error
    if missing := [column for column in ("person", *attributes) if column not in frame]:
        raise SchemaError(f"groups: lacks {', '.join(missing)}; expected person and a column an attribute")
    if twice := int(frame["person"].duplicated().sum()):
        raise SchemaError(f"groups: {twice} persons stand there twice; expected one row a person")
    return frame.set_index("person")[list(attributes)].dropna()


def _synthetic(run: Run) -> BiasStudy:
    from crimeface_lib.synthetic import synthetic_scores

    cfg: Any = run.cfg
    if cfg.attributes != ("group",) or cfg.threshold is not None or cfg.dpia is not None:
        raise ConfigError(
            "attributes, threshold, dpia: got one for synthetic scores, which have their own; "
            "give your data with comparisons=FILE.csv or photos=FOLDER"
        )
    made = synthetic_scores(rng=run.rng)
    protocol = cfg.protocol or "synthetic scores with known differentials"
    about = (cfg.model, cfg.version, cfg.dataset, protocol, None)
    return BiasStudy(made.comparisons, None, made.threshold, *about, made.truth)


def _of_table(run: Run) -> BiasStudy:
    cfg: Any = run.cfg
    table = read_table(run.take_in(cfg.comparisons, role="comparisons", evidence=False), booleans=("mated",))
    if not cfg.protocol.strip():
        raise ConfigError("protocol: got nothing, expected how the comparisons were made, in words")
    threshold = cfg.threshold
    if threshold is None and cfg.dpia is not None:
        threshold = getattr(run.store.dpias.approval(cfg.dpia).content.faces, "threshold", None)
    if threshold is None:
        raise ConfigError("threshold: got none, expected the one in use, or a face search's dpia=N that names it")
    table, left_out = _with_groups(table, [f"{name}_{side}" for name in cfg.attributes for side in "ab"])
    return BiasStudy(
        table, None, threshold, cfg.model, cfg.version, cfg.dataset, cfg.protocol, cfg.dpia, left_out=left_out
    )


def _of_photos(run: Run) -> BiasStudy:
    """Compare labelled photos here, under a permit, at the approved threshold if no other is given."""
    import pandas as pd

    from crimeface_lib.faces import read_pairs
    from crimeface_lib.recognition import load_embedder

    cfg: Any = run.cfg
    if cfg.pairs is None or cfg.groups is None:
        raise ConfigError("photos: also give pairs=FILE, what to compare, and groups=FILE.csv, who is of which group")
    embedder = load_embedder(cfg.embed.embedder, device=run.device)
    permit = run.permit("face_search", dataset=cfg.dataset, model=embedder.name, version=embedder.version)
    groups = read_groups(run.take_in(cfg.groups, role="groups", evidence=False), attributes=cfg.attributes)
    pairs = read_pairs(run.take_in(cfg.pairs, role="pairs", evidence=False))
    count = min(cfg.limit or len(pairs), len(pairs))
    pairs = [pairs[k * len(pairs) // count] for k in range(count)]
    known = [pair for pair in pairs if all(Path(file).parent.name in groups.index for file in pair[:2])]
    if not known:
        raise InputError(f"groups: none of {len(pairs)} pairs has a group for both sides; are the names the same?")
    files = sorted({file for pair in known for file in pair[:2]})
    if absent := [file for file in files if not (cfg.photos / file).is_file()]:
        raise InputError(f"pairs: {len(absent)} of {len(files)} photos are not in the folder of photos")
    digests = {file: sha256_file(cfg.photos / file) for file in files}
    run._add("inputs", role="photos", sha256=content_hash(digests).removeprefix("sha256:"), files=len(files))
    options = {"detector": cfg.embed.detector, "which": cfg.face}
    scores, failed = run.use(
        permit, compare_photos, embedder, photos=cfg.photos, files=files, pairs=[pair[:2] for pair in known], **options
    )
    run.used(f"detectors:{cfg.embed.detector}", f"embedders:{embedder.name}")
    people = [[Path(file).parent.name for file in pair[:2]] for pair in known]
    table = pd.DataFrame(people, columns=["subject_a", "subject_b"])
    for side in "ab":
        labels = groups.loc[table[f"subject_{side}"]].add_suffix(f"_{side}").reset_index(drop=True)
        table = pd.concat([table, labels], axis="columns")
    table = table.assign(score=scores, mated=[pair[2] for pair in known])
    enrolled = groups.loc[[Path(file).parent.name for file in files]].reset_index(drop=True).assign(failed=failed)
    threshold = permit.threshold if cfg.threshold is None else cfg.threshold
    protocol = cfg.protocol or f"{len(known)} labelled pairs of photos, compared here; groups from a file"
    return BiasStudy(
        table, enrolled, threshold, embedder.name, embedder.version, cfg.dataset, protocol, permit.dpia,
        left_out=len(pairs) - len(known),
    )  # fmt: skip


def compare_photos(
    embedder: Any, *, photos: Path, files: Sequence[str], pairs: Sequence[Sequence[str]], detector: str, which: Any
) -> tuple[list[float], list[bool]]:
    """Return the score of each pair, NaN where a side has no template, and for each file whether it has none.

    Call it as ``run.use(permit, compare_photos, …)``. Templates end with the call.
    """
    import numpy as np

    from crimeface_lib.recognition import embed_images, score_pairs

    paths = Working("photos to templates").each([photos / file for file in files])
    found = embed_images(paths, embedder=embedder, detector=detector, which=which, progress=False)
    place = {file: row for row, file in enumerate(files)}
    rows = np.array([[place[file] for file in pair] for pair in pairs])
    made = ~np.isin(rows, list(found.failures)).any(axis=1)
    scores = np.full(len(rows), np.nan)
    scores[made] = score_pairs(found.vectors[rows[made, 0]], found.vectors[rows[made, 1]])
    return scores.tolist(), [row in found.failures for row in range(len(files))]


def _rate(row: dict[str, Any], rate: str) -> str:
    """Return a rate in per cent with its interval; where it is withheld, why."""
    if row[rate] != row[rate]:
        return "too few" if CROSS not in row["group"] or rate == "FMR" else "no such pair" if rate == "FNMR" else "–"
    value, low, high = (100 * row[f"{rate}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _with_groups(table: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Return the comparisons whose sides both have a group, and how many have not; a missing column is left to say."""
    here = [column for column in columns if column in table]
    kept = table.dropna(subset=here)
    return kept, len(table) - len(kept)
