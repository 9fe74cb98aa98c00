"""Months in which the level of counts changed, how sure that is, and between which months the change lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime._periods import read_periods
from crimeface_lib.crime._segments import Noise, Steps, best_steps, likeness, residuals

if TYPE_CHECKING:
    import pandas as pd

_MOST_MONTHS = 400
_LOOK = 3  # changes tried at once, so that a change and its return are seen together
_LIKENESS = (0.0, 0.25, 0.5, 0.75)
_CAUTION = 0.25


@dataclass(frozen=True, slots=True)
class ChangePoints(Result):
    """Changes of level in one series of counts.

    Parameters
    ----------
    table : one row a change: ``month`` (the first at the new level) with ``low`` and ``high``; ``ratio`` of the level
        after to the level before, with its interval.
    fitted : one row a month: ``observed``, ``level`` (without season), ``expected`` (with it), ``gap``.
    tests : one row a step: how many changes were assumed, and the p-value of there being no more.
    dispersion, autocorrelation : of counts about the fit: variance over mean, and likeness of neighbouring months.
    """

    table: pd.DataFrame = field(repr=False)
    fitted: pd.DataFrame = field(repr=False)
    tests: pd.DataFrame = field(repr=False)
    alpha: float
    confidence: float
    dispersion: float
    autocorrelation: float
    gaps: tuple[str, ...]
    caveats: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """The table of changes."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        names = ("alpha", "confidence", "dispersion", "autocorrelation", "gaps", "caveats")
        changes = self.table.astype(dict.fromkeys(("month", "low", "high"), str))
        tables = {"changes": to_plain(changes), "tests": to_plain(self.tests)}
        return tables | {name: to_plain(getattr(self, name)) for name in names}

    def _repr_html_(self) -> str:
        number = len(self.table)
        said = f"<p><b>{number or 'No'} change{'' if number == 1 else 's'} of level</b> at a false-alarm rate of " \
               f"{self.alpha:.0%} (variance {self.dispersion:.1f} times the mean).</p>"  # fmt: skip
        shown = table_html(self.table, float_format="{:,.2f}".format)
        return said + (shown if number else "") + list_html(self.caveats)


def change_points(
    series: pd.Series,
    *,
    alpha: float = 0.05,
    most: int = 5,
    shortest: int = 3,
    season: bool = True,
    confidence: float = 0.95,
    draws: int = 299,
    rng: Seed = 0,
) -> ChangePoints:
    """Find changes of level in monthly counts.

    Levels times a season of the calendar months, variance in proportion to the mean: the segmentation of least
    deviance is found exactly by dynamic programming. One to three changes more are accepted while series drawn from the
    simpler fit, as scattered and as alike from month to month as this one, gain that much by chance in at most
    ``alpha`` of cases. Intervals come from refitting series drawn from the final fit.

    Measured on 150 simulated series of 48 months (mean 200, season of 20 %, variance three times the mean): any change
    found in 1.3 % of those without one; a fall by 25 % found in 95 %, its month within 0.6 months on average and inside
    its 95 % interval in 99 %, its ratio in 93 %. Where months are strongly alike (0.4 from one to the
    next) chance makes more of them: 9.3 % of 150 series without a change showed one.

    Parameters
    ----------
    series : counts on consecutive months; NaN is a gap, and a change may lie in it.
    most : changes, at most; shortest : months with data between two.
    season : take out a season; needs each calendar month twice.

    Raises
    ------
    InputError : too few months with data, counts below 0, no events at all, options out of range.

    References: Auger & Lawrence 1989 (segmentation); Bai & Perron 1998 (tests of one more change); Chakar et al. 2017
    (with autocorrelation); McCullagh & Nelder 1989 (quasi-Poisson).
    """
    import pandas as pd

    values, known, calendar = _checked(series, alpha, most, shortest, season, confidence, draws)
    gen = make_rng(rng, stream="change_points")
    search = _Search(np.where(known, values, 0.0)[None], known, calendar, shortest, draws, gen)
    number, tests, noise = search.number(alpha, most)
    steps = search.fit(number)
    level, factor = steps.level[0], steps.season[0]
    starts = steps.starts[number][0]
    table = search.table(steps, noise, confidence, series.index)
    fitted = pd.DataFrame(
        {"observed": np.where(known, values, np.nan), "level": level, "expected": level * factor, "gap": ~known},
        index=series.index,
    )
    caveats = [
        "A change of level in what was recorded: in crime, reporting, recording or policing. The month says when, "
        "not why.",
        "A slow drift shows as one or more steps.",
    ]
    if any(not known[s - 1] or not known[s] for s in starts):
        caveats.append("A change lies at a month without data: it may have come in any month of the gap.")
    gaps = tuple(str(month) for month in series.index[~known])
    return ChangePoints(
        table, fitted, tests, alpha, confidence, noise.dispersion, noise.autocorrelation, gaps, tuple(caveats)
    )


def _checked(
    series: pd.Series, alpha: float, most: int, shortest: int, season: bool, confidence: float, draws: int
) -> tuple[FloatArray, BoolArray, IntArray | None]:
    if not (0 < alpha < 1 and 0 < confidence < 1 and 1 <= most <= 12 and shortest >= 1 and draws >= 99):
        raise InputError(
            f"got alpha={alpha}, confidence={confidence}, most={most}, shortest={shortest}, draws={draws}; expected "
            "shares between 0 and 1, 1 to 12 changes, a month or more between them and at least 99 draws"
        )
    least = max((24 if season else 8), 3 * shortest)
    values = read_periods(series, every=("M",), least=least)
    known = np.isfinite(values)
    if len(values) > _MOST_MONTHS or values[known].sum() == 0:
        raise InputError(
            f"series: got {values[known].sum():g} events in {len(values)} months, expected some, and at most "
            f"{_MOST_MONTHS} months"
        )
    calendar = np.asarray(series.index.month) - 1 if season else None
    if calendar is not None and np.bincount(calendar[known], minlength=12).min() < 2:
        raise InputError("series: a calendar month has data fewer than twice; use season=False")
    return values, known, calendar


@dataclass(frozen=True, slots=True)
class _Search:
    counts: FloatArray  # (1, T)
    known: BoolArray
    calendar: IntArray | None
    shortest: int
    draws: int
    gen: np.random.Generator

    def fit(self, changes: int, counts: FloatArray | None = None) -> Steps:
        counts = self.counts if counts is None else counts
        return best_steps(counts, self.known, self.calendar, changes=changes, shortest=self.shortest)

    def number(self, alpha: float, most: int) -> tuple[int, pd.DataFrame, Noise]:
        """Return the number of changes, the tests that led to it, and the noise about the fit."""
        import pandas as pd

        number, rows = 0, []
        most = min(most, int(self.known.sum()) // self.shortest - 1)
        noise = self._noise(min(most, _LOOK))
        while number < most:
            look = min(_LOOK, most - number)
            steps = self.fit(number + look)
            mean = (steps.levels(self.counts, self.known, number) * steps.season)[0]
            drawn = self.fit(number + look, noise.draw(mean, self.draws, self.gen))
            gains = np.concatenate([self._gains(steps, number), self._gains(drawn, number)], axis=1)
            p, each = _p_values(gains)
            rows.append({"changes": number, "p": p})
            if p > alpha:
                break
            number += 1 + int(np.argmin(each))
        return number, pd.DataFrame(rows, columns=["changes", "p"]), noise

    def _gains(self, steps: Steps, number: int) -> FloatArray:
        """Return (look, B) gain in deviance per change beyond ``number``, in units of the dispersion left."""
        deviance = steps.deviance[number:]
        free = self._free(len(steps.deviance) - 1)
        return (deviance[0] - deviance[1:]) / np.maximum(deviance[-1] / free, 1e-9)

    def _free(self, changes: int) -> float:
        return max(float(self.known.sum()) - (changes + 1) - (11 if self.calendar is not None else 0), 1.0)

    def _noise(self, changes: int) -> Noise:
        """Return the noise whose residuals, after as rich a fit as any tried first, look like those of this series.

        A rich fit takes changes that are there out of the noise, and some noise with them: drawing counts with a known
        likeness of neighbours, and fitting them alike, tells how much. Of likenesses that could have looked like this,
        one rather large is taken, since too small a one lets wandering pass for changes.
        """
        steps = self.fit(changes)
        mean = (steps.level * steps.season)[0]
        rest = residuals(self.counts, steps)
        square = float((rest[0, self.known] ** 2).sum())
        dispersion = square / self._free(changes)
        alike, left = [], []
        for rho in _LIKENESS:
            drawn = Noise(dispersion, rho).draw(mean, 60, self.gen)
            again = residuals(drawn, self.fit(changes, drawn))
            alike.append(float(np.quantile(likeness(again, self.known), _CAUTION)))
            left.append((again[:, self.known] ** 2).sum(axis=1).mean())
        rho = float(np.interp(likeness(rest, self.known)[0], np.maximum.accumulate(alike), _LIKENESS))
        return Noise(dispersion * square / float(np.interp(rho, _LIKENESS, left)), rho)

    def table(self, steps: Steps, noise: Noise, confidence: float, months: Any) -> pd.DataFrame:
        """Return the changes with intervals from series drawn from the fit and fitted again."""
        import pandas as pd

        number = len(steps.deviance) - 1
        starts = steps.starts[number][0]
        drawn = noise.draw((steps.level * steps.season)[0], self.draws, self.gen)
        again = self.fit(number, drawn)
        ends = [(1 - confidence) / 2, (1 + confidence) / 2]
        rows = []
        for j, start in enumerate(starts):
            off = again.starts[number][:, j] - start
            early, late = (int(q) for q in np.quantile(off, ends, method="closest_observation"))
            before, after = steps.level[0, start - 1], steps.level[0, start]
            at = again.starts[number][:, j : j + 1]
            ratio = (np.take_along_axis(again.level, at, 1) / np.take_along_axis(again.level, at - 1, 1))[:, 0]
            tail = np.quantile(np.log(ratio / (after / before)), ends)
            place = np.clip([start - late, start - early], 1, len(months) - 1)
            rows.append({
                "month": months[start], "low": months[place[0]], "high": months[place[1]], "before": before,
                "after": after, "ratio": after / before, "ratio_low": after / before * np.exp(-tail[1]),
                "ratio_high": after / before * np.exp(-tail[0]),
            })  # fmt: skip
        names = ["month", "low", "high", "before", "after", "ratio", "ratio_low", "ratio_high"]
        return pd.DataFrame(rows, columns=names)


def _p_values(gains: FloatArray) -> tuple[float, FloatArray]:
    """Return the p-value of the best of the (look, 1 + draws) gains, the first column's, and each gain's own."""
    rank = (gains[:, :, None] <= gains[:, None, :]).mean(axis=2)  # share of all at least as large
    best = rank.min(axis=0)
    return float((best <= best[0]).mean()), rank[:, 0]
