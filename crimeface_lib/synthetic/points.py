"""Events of a day and an exact place, with near repeats, from a process whose every number is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import Shown, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

CRS = "EPSG:27700"
CORNER, SIDE = (616_000.0, 446_000.0), 8_000.0  # metres: a square at sea
_CENTRES = np.array([[0.5, 0.5], [0.2, 0.75], [0.8, 0.3]]) * SIDE
_SPREADS = np.array([900.0, 500.0, 650.0])
_SHARES = np.array([0.3, 0.2, 0.15, 0.35])  # of the centres, and of the square evenly
#: Share of the mean day, Monday to Sunday.
WEEK = (0.95, 0.9, 0.92, 0.95, 1.1, 1.2, 0.98)


@dataclass(frozen=True, slots=True)
class PointTruth(Shown):
    """What the events were drawn from.

    Parameters
    ----------
    per_day : background events a day, in the mean over weekdays and the year; week : (7,) factors of the weekdays;
        season : amplitude of the year's cosine, which peaks on 1 July; growth : of the background, a year.
    repeats : events that one event triggers, in the mean; at_once : share of these at the very place; reach :
        standard deviation in metres of the others' step in x and y; delay : mean days until they come.
    parent : (N,) row of the event that triggered this one, -1 for background. family : (N,) its first ancestor.
    """

    per_day: float
    week: FloatArray
    season: float
    growth: float
    repeats: float
    at_once: float
    reach: float
    delay: float
    parent: IntArray
    family: IntArray

    def density(self, xy: FloatArray) -> FloatArray:
        """Return (N,) share of the background per m² at (N, 2) places in ``CRS``."""
        off = np.asarray(xy, dtype=np.float64) - CORNER
        inside = ((off >= 0) & (off <= SIDE)).all(axis=1)
        square = ((off[:, None] - _CENTRES) ** 2).sum(axis=2)
        bumps = np.exp(-square / (2 * _SPREADS**2)) / (2 * np.pi * _SPREADS**2)
        return np.where(inside, bumps @ _SHARES[:-1] + _SHARES[-1] / SIDE**2, 0.0)


@dataclass(frozen=True, slots=True)
class SyntheticPoints(Result):
    """A table of ``time``, ``x``, ``y`` and ``type`` for ``crime.read_points``, and its truth."""

    table: pd.DataFrame = field(repr=False)
    truth: PointTruth = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        return {"rows": len(self.table), "crs": CRS}

    def _repr_html_(self) -> str:
        return table_html(self.table, rows=10)


def synthetic_points(
    *,
    days: int = 730,
    start: str = "2023-01-01",
    per_day: float = 5.0,
    repeats: float = 0.3,
    at_once: float = 0.5,
    reach: float = 120.0,
    delay: float = 7.0,
    season: float = 0.2,
    growth: float = 0.0,
    rng: Seed = None,
) -> SyntheticPoints:
    """Draw events of a square town: a background by place, weekday and season, and what each event triggers.

    A self-exciting process drawn generation by generation: each event has a Poisson number of near repeats, which may
    have their own. Those after the last day are not seen; the first days lack those of days before.

    Parameters
    ----------
    days : how many, from ``start``. The others are numbers of ``PointTruth``.

    Raises
    ------
    InputError : no day, a rate or step that is not positive, a share outside 0 to 1 (1 repeat an event never ends).

    References: Ogata 1988; Mohler et al. 2011 (self-exciting crime).

    >>> made = synthetic_points(days=30, rng=1)
    >>> list(made.table.columns)
    ['time', 'x', 'y', 'type']
    """
    import pandas as pd

    if days < 1 or min(per_day, reach, delay) <= 0 or not (0 <= repeats < 1 and 0 <= at_once <= 1 and 0 <= season < 1):
        raise InputError(
            f"got days={days}, per_day={per_day}, reach={reach}, delay={delay}, repeats={repeats}, at_once={at_once}, "
            f"season={season}, expected positive numbers, and shares of 0 up to (not for at_once) 1"
        )
    gen = make_rng(rng, stream="synthetic_points")
    index = pd.period_range(start, periods=days, freq="D")
    week = np.array(WEEK) / np.mean(WEEK)
    year = 2 * np.pi * (index.day_of_year.to_numpy() - 182) / 365.25
    rate = per_day * week[index.day_of_week] * (1 + season * np.cos(year)) * (1 + growth) ** (np.arange(days) / 365.25)
    time, xy = _background(rate, gen)
    parent, family = np.full(len(time), -1), np.arange(len(time))
    times, places, parents, families, before = [time], [xy], [parent], [family], 0
    while len(time):
        one = np.repeat(np.arange(len(time)), gen.poisson(repeats, len(time)))
        time = time[one] + gen.exponential(delay, len(one))
        step = gen.normal(0, reach, (len(one), 2)) * (gen.random(len(one)) >= at_once)[:, None]
        xy, family, parent = xy[one] + step, family[one], one + before
        before += len(times[-1])
        # one that steps out of the square, or comes too late, is not recorded
        seen = (time < days) & ((xy >= CORNER) & (xy <= np.add(CORNER, SIDE))).all(axis=1)
        time, xy, family, parent = time[seen], xy[seen], family[seen], parent[seen]
        kept: tuple[list[Any], ...] = (times, places, parents, families)
        for store, part in zip(kept, (time, xy, parent, family), strict=True):
            store.append(part)
    return _ordered(index[0].start_time, times, places, parents, families, PointTruth(
        per_day, week, season, growth, repeats, at_once, reach, delay, np.empty(0, int), np.empty(0, int),
    ))  # fmt: skip


def _background(rate: FloatArray, gen: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the days and (N, 2) places of the background."""
    counts = gen.poisson(rate)
    total = int(counts.sum())
    time = np.repeat(np.arange(len(rate)), counts) + gen.random(total)
    kind = gen.choice(len(_SHARES), total, p=_SHARES)
    xy = gen.uniform(0, SIDE, (total, 2))
    near = np.flatnonzero(kind < len(_SPREADS))
    while len(near):  # again where a step leads out of the square
        xy[near] = _CENTRES[kind[near]] + gen.normal(size=(len(near), 2)) * _SPREADS[kind[near], None]
        near = near[~((xy[near] >= 0) & (xy[near] <= SIDE)).all(axis=1)]
    return time, xy + CORNER


def _ordered(
    begin: Any, times: list[FloatArray], places: list[FloatArray], parents: list[IntArray], families: list[IntArray],
    truth: PointTruth,
) -> SyntheticPoints:  # fmt: skip
    """Return the events in order of time, parents and families as rows of that order."""
    import pandas as pd

    time, xy = np.concatenate(times), np.concatenate(places)
    order = np.argsort(time, kind="stable")
    row = np.empty(len(order) + 1, dtype=np.int64)
    row[order], row[-1] = np.arange(len(order)), -1
    stamps = begin.to_datetime64().astype("datetime64[s]") + (time[order] * 86_400).astype("timedelta64[s]")
    place = xy[order].round(1)
    table = pd.DataFrame({"time": stamps, "x": place[:, 0], "y": place[:, 1], "type": "Burglary"})
    parent, family = row[np.concatenate(parents)[order]], row[np.concatenate(families)[order]]
    return SyntheticPoints(table, replace(truth, parent=parent, family=family))
