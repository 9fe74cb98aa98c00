"""Two photos and one likelihood ratio: what stands before it, what it means, and how far it can be relied on.

To compare two photos of faces is processing of biometric data as a search is: it runs under an approved DPIA of kind
``face_search`` that names the data and the model. Nothing is compared before the permit, nor where a check fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.metrics import rate_interval
from crimeface_lib.recognition.pair import Check, PairedPhoto, PairResult, check_pair, compare_pair, look_at

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.recognition import Calibration, Embedder
    from crimeface_lib.workflow.run import Run
    from crimeface_lib.workflow.store import CaseStore


@dataclass(frozen=True, slots=True, eq=False)
class PairStudy:
    """Both photos, the checks, the calibration and, if nothing stood against it, the comparison."""

    first: PairedPhoto
    second: PairedPhoto
    calibration: Calibration
    checks: tuple[Check, ...]
    result: PairResult | None
    verbal: Any = None

    @classmethod
    def of(cls, run: Run, *, permit: Any, embedder: Embedder) -> PairStudy:
        """Return the comparison that a run's config asks for.

        Raises
        ------
        RefusedError : the permit does not hold. InputError : a photo that can't be read or shows no face; a
            calibration for another embedder.
        """
        from crimeface_lib.recognition import load_calibration

        cfg: Any = run.cfg
        options: dict[str, Any] = {"detector": cfg.embed.detector, "embedder": embedder}
        first = look_at(run.take_in(cfg.photo_a, role="photo A"), "A", cfg.face_a, **options)
        second = look_at(run.take_in(cfg.photo_b, role="photo B"), "B", cfg.face_b, **options)
        calibration = load_calibration(cfg.calibration or embedder.name)
        checks = check_pair(first, second, calibration, minimum=cfg.minimum_quality)
        result = None
        if cfg.regardless or all(check.passed for check in checks):
            options = {"detector": cfg.embed.detector, "others": cfg.other_detectors, "level": cfg.level}
            result = run.use(permit, compare_pair, embedder, first, second, calibration=calibration, **options)
            run.save("comparison", result)
        return cls(first, second, calibration, checks, result, cfg.verbal)

    # -- sentences -----------------------------------------------------------------------------------------
    @property
    def lr_words(self) -> str:
        """The likelihood ratio with its interval; in words of a scale only where the config asks for one."""
        from crimeface_lib.recognition import lr_text

        if self.result is None:
            return "none"
        one = self.result
        words = lr_text(one.likelihood_ratio, one.low, one.high, verbal=self.verbal)
        if one.low == one.high:  # held so far at the limit that no resampling moves it: no interval to be read
            words = words.replace(f" {words[words.index('(') : words.index(')') + 1]}", "", 1)
        return f"{words}, held at the limit of the calibration data" if one.clamped else words

    @property
    def meaning(self) -> str:
        """What the ratio means, in one sentence."""
        if self.result is None:
            return "No likelihood ratio: " + " ".join(c.found for c in self.checks if not c.passed)
        ratio = self.result.likelihood_ratio
        number = _plain(max(ratio, 1 / ratio))
        likelier = "if both photos show the same person than if they show two different people"
        if ratio < 1:
            likelier = "if the photos show two different people than if both show the same person"
        most = ", which is all that the calibration supports" if self.result.clamped else ""
        return f"A score like this is about {number} times more probable {likelier}{most}."

    @property
    def cautions(self) -> tuple[str, ...]:
        """What must stand beside the ratio."""
        if self.result is None:
            return ("Where a check fails nothing is compared: a number from such photos would look like evidence.",)
        low, high = (_plain(10**end) if end > 0 else f"1/{_plain(10**-end)}" for end in self.calibration.bounds)
        limit = (
            f"The ratio is held at the limit: the calibration's comparisons support none below {low} and none above "
            f"{high}. The score points further, but how much further, these data can't tell."
            if self.result.clamped
            else f"It lies within what the calibration's comparisons support, {low} to {high}."
        )
        return (
            limit,
            "It is about the score and not about the people: it is not the odds that the photos show one person, and "
            "one divided by it is not the probability that they show two. To read it so is the prosecutor's fallacy. "
            "What to believe also depends on everything else known of the case, which this page doesn't know.",
            f"The {self.result.level:.0%} interval says how the ratio would vary with other people in the calibration. "
            "It doesn't cover photos of another kind. Different people are taken at random from the calibration's; "
            "where the alternative is a relative, or somebody of the same sex, age and origin, the ratio is too high.",
            *(c.found for c in self.checks if c.caution),
            *(f"Compared although a check failed, as was asked for: {c.found}" for c in self.checks if not c.passed),
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """What the report says first."""
        if self.result is None:
            return (self.meaning,)
        moved = [_plain(row["lr"]) for row in sorted(self.result.changes, key=_ratio) if row["lr"] is not None]
        spread = f"move it between {moved[0]} and {moved[-1]}" if len(set(moved)) > 1 else "leave it where it is"
        return (
            f"Likelihood ratio {self.lr_words}. {self.meaning}",
            *([f"Small changes to either photo {spread}."] if moved else []),
            f"Quality {self.first.quality.score:.0f} and {self.second.quality.score:.0f} of 100. "
            f"Photo A: {self.first.choice.sentence} Photo B: {self.second.choice.sentence}",
        )

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(text)}</li>" for text in self.cautions)
        score = "" if self.result is None else f"; score {self.result.score:.3f}"
        head = f"<p><b>Likelihood ratio: {escape(self.lr_words)}</b>{score}.</p>"
        return f'<div class="cf-candidates">{head}<p>{escape(self.meaning)}</p><ul>{said}</ul></div>'

    # -- tables --------------------------------------------------------------------------------------------
    def photo_table(self) -> pd.DataFrame:
        """Return a row a photo: size, faces found, which is used, SHA-256."""
        import pandas as pd

        rows = [
            {"photo": side.name, "pixels": f"{side.photo.shape[1]} × {side.photo.shape[0]}",
             "faces found": side.choice.count, "which": side.choice.sentence, "SHA-256": f"{side.sha256[:16]}…"}
            for side in (self.first, self.second)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def quality_table(self) -> pd.DataFrame:
        """Return a row a part of quality for both photos, and what limits which."""
        import pandas as pd

        sides = (self.first, self.second)
        rows = [{"part": "all parts, 0 to 100", **{f"photo {s.name}": f"{s.quality.score:.0f}" for s in sides}}]
        rows += [{"part": part, **{f"photo {s.name}": f"{s.quality.parts[part]:.2f}" for s in sides}}
                 for part in self.first.quality.parts]  # fmt: skip
        return pd.DataFrame(rows)

    def limits_table(self) -> pd.DataFrame:
        """Return what is poor about either photo, a row a reason."""
        import pandas as pd

        rows = [(side.name, reason) for side in (self.first, self.second) for reason in side.quality.reasons]
        return pd.DataFrame(rows, columns=["photo", "what limits it"])

    def check_table(self) -> pd.DataFrame:
        """Return a row a check."""
        import pandas as pd

        words = {(True, False): "yes", (True, True): "with caution", (False, False): "NO"}
        rows = [(one.check, one.found, words[one.passed, one.caution]) for one in self.checks]
        return pd.DataFrame(rows, columns=["check", "found", "passed"])

    def change_table(self) -> pd.DataFrame:
        """Return how the ratio moves when a photo is changed a little, a row a change."""
        import pandas as pd

        found: dict[str, dict[str, Any]] = {}
        for row in self.result.changes if self.result else []:
            sides = "AB" if row["side"] == "both" else row["side"]
            for side in sides:
                cells = {f"score, {side}": row["score"], f"ratio, {side}": row["why"] or _plain(row["lr"])}
                found.setdefault(row["change"], {}).update(cells)
        return pd.DataFrame([{"change": change, **cells} for change, cells in found.items()])

    def error_table(self, measured: Sequence[Any] = ()) -> pd.DataFrame:
        """Return how often the method misleads: at this score, over all, and as measured on other people.

        Parameters
        ----------
        measured : results of the model card (``governance.Measurement``) on data not used for the calibration.
        """
        import pandas as pd

        calibration, rows = self.calibration, []
        mated, nonmated = calibration.pairs
        people = f"{nonmated:,} comparisons of {calibration.subjects:,} people"
        even = float(np.interp(0.0, calibration.log10_lr, calibration.knots))
        at = [("get a ratio above 1", "get a ratio below 1", even)]
        at += [("reach this score", "score lower than this", self.result.score)] if self.result else []
        for higher, lower, score in at:
            below = f"about {100 * float(np.mean(calibration.mated < score)):.0f} %"
            rows.append((f"different people who {higher}", _share(calibration, score), people))
            rows.append((f"photos of one person that {lower}", below, f"{mated:,} comparisons"))
        everyone, quality = f"{mated:,} mated, {nonmated:,} non-mated comparisons", calibration.quality
        rows.append(("equal error rate, calibration", _percent(quality["EER"]), everyone))
        rows += [(f"{name}, calibration", f"{quality[name]:.3f}", everyone) for name in ("Cllr", "Cllr_min")]
        for result in measured:
            about = result.protocol.partition(";")[0]
            figures = [one for one in result.figures if "threshold" not in one.name and "decisions" not in one.name]
            rows += [(f"{x.name}, other people", x.in_short(), f"{x.n:,} comparisons: {about}") for x in figures]
        return pd.DataFrame(rows, columns=["how often", "share or value (95 % interval)", "of"])

    def group_table(self, store: CaseStore, card: Any) -> pd.DataFrame:
        """Return what is known of this method's differences between groups: kept bias reports, else the card's."""
        import pandas as pd

        reports = [report for report in store.bias.list() if report.model == card.backend.partition(":")[2]]
        rows = [
            {"report": f"{report.id}, {report.at:%Y-%m-%d}, {report.dataset}", "groups": row.attribute,
             "measure": row.measure, "value": f"{row.value:.3g} ({row.low:.3g} – {row.high:.3g})", "band": row.state}
            for report in reversed(reports) for row in report.to_frame().itertuples()
        ]  # fmt: skip
        if rows:
            return pd.DataFrame(rows)
        said = ["No bias report of this method is kept in this store: how its errors differ between groups on people "
                "like these is not known. Make one with: crimeface run bias_audit"]  # fmt: skip
        said += [f"{fair.group_at_risk}: {fair.harms.strip()}" for fair in card.fairness]
        return pd.DataFrame({"known": said})

    def method_table(self, card: Any, permit: Any) -> pd.DataFrame:
        """Return model, licence, versions and approval, a row each."""
        import pandas as pd

        from crimeface_lib import __version__

        rows = {
            "model": f"{card.name} {card.version}",
            "licence": f"code {card.licence.code}, weights {card.licence.weights}"
            + (", for research only" if card.research_only else ""),
            "weights and how they are run": self.calibration.version,
            "detector": self.first.choice.face.detector,
            "calibration": f"{self.calibration.dataset or 'unnamed'}; made {self.calibration.made_at[:10]}",
            "protocol": self.calibration.protocol or "not told",
            "software": f"crimeface {__version__}",
            "photo A": f"SHA-256 {self.first.sha256}",
            "photo B": f"SHA-256 {self.second.sha256}",
            "approval": f"DPIA {permit.dpia}, content {permit.content_hash}, holds until {permit.review_by}",
        }
        return pd.DataFrame({"what": list(rows), "value": list(rows.values())})

    def odds_table(self, priors: Sequence[float]) -> pd.DataFrame:
        """Return what prior odds become with this ratio; the prior is the reader's and never this page's."""
        import pandas as pd

        one = self.result
        rows = [] if one is None else [
            {"prior odds, same to different": _plain(prior), "times the ratio": _plain(one.likelihood_ratio),
             "posterior odds": f"{_plain(prior * one.likelihood_ratio)} "
                               f"({_plain(prior * one.low)} – {_plain(prior * one.high)})"}
            for prior in priors
        ]  # fmt: skip
        return pd.DataFrame(rows)


def _ratio(row: dict[str, Any]) -> float:
    return float(row["lr"] or 0.0)


def _share(calibration: Calibration, score: float) -> str:
    """Return the share of the non-mated comparisons that reach a score, with its interval over pairs of people."""
    trials = min(calibration.pairs[1], calibration.subjects * (calibration.subjects - 1) // 2)
    share = float(calibration.fmr([score])[0])
    if score > calibration.nonmated[-1]:
        return f"none seen (up to {_percent(rate_interval(0, trials)[1])})"
    low, high = rate_interval(min(round(share * trials), trials), trials)
    return f"{_percent(share)} ({_percent(low)} – {_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-5 else f"1 in {_plain(1 / share)}" if share else "0 %"


def _plain(value: float) -> str:
    """Return a ratio to two figures as a person writes it: 130,000; 0.25; 1/380."""
    if value < 0.01:
        return f"1/{_plain(1 / value)}"
    if value >= 1e7:
        return f"{value:.1e}".replace("e+0", " × 10^").replace("e+", " × 10^")
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
