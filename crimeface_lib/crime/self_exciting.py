"""Events that set off others: how likely, how soon, how near; fitted to the past, and as a place model."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime import _self_exciting as em
from crimeface_lib.crime._history import DAY, YEAR, History, Parts, read_history, reported, span, spread
from crimeface_lib.crime._prohotspot import need_times
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid

if TYPE_CHECKING:
    import pandas as pd

_TAU, _HISTORY = 2 * YEAR, 5 * YEAR  # days; of the background, as the decayed counts have them
_SMOOTH = 300.0  # metres
_WARM = 0.4  # share of the history that only fills the background's memory
_SOONEST = 0.25  # days; records closer in time are taken for one incident
_MOST_PAIRS, _LEAST_EVENTS = 2_000_000, 100
_FINE = 50.0  # metres between the points at which the kernel is summed
_BLOCKS = 5  # of the background: squares of a fifth of a cell


@dataclass(frozen=True, slots=True)
class SelfExcitingFit(Result):
    """Parameters of the process, and how the fit went.

    Parameters
    ----------
    parameters : name, value, error (standard error from the sum of squared scores, month factors held; NaN at a
        bound), unit. Weights of the four backgrounds (uniform; decayed counts of the cell, of the exact place, of the
        surroundings), then offspring per event at the same place and near, their rates, and the distance.
    branching : offspring per event that set in within days; below 1. The background remembers past events too, for
        years: that is not counted as branching.
    log_likelihood : after each round; it never falls.
    events, pairs : fitted on; since : first day of the span, later than asked where memory would have run out.
    """

    parameters: pd.DataFrame
    branching: float
    log_likelihood: tuple[float, ...] = field(repr=False)
    converged: bool
    events: int
    pairs: int
    since: str
    until: str
    fitted: em.Fitted = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The parameters."""
        return self.parameters

    @property
    def text(self) -> str:
        """What the fit says, in a sentence."""
        row = self.parameters.set_index("name")
        value, error = row["value"], row["error"]
        how = "" if self.converged else " The fit had not converged: read no number off it."
        return (
            f"Of {self.events:,} events since {self.since}, {self.branching:.1%} set off another within days: "
            f"{value['same_place']:.1%} (± {error['same_place']:.1%}) at the same place, after "
            f"{1 / value['same_rate']:.1f} days on average, and {value['near']:.1%} (± {error['near']:.1%}) nearby; "
            f"statistically: no event is traced to another.{how}"
        )

    def _repr_html_(self) -> str:
        table = table_html(self.parameters)
        return f"<p>{escape(self.text)}</p>{table}"


def fit_self_exciting(events: Events, grid: Grid, *, at: object, police_discovered: bool = False) -> SelfExcitingFit:
    """Fit a self-exciting point process to the five years before ``at``.

    Background: decayed counts of the cell, of the exact place and of the surroundings, and a uniform floor, times a
    factor per month. Trigger: an atom at the same place, and a kernel exponential in distance (within 400 m), both with
    exponential delays (from six hours, sooner is taken for one incident, to 60 days). Offspring that would fall off
    the grid's edge are not corrected for, and the background remembers offspring too: on simulated data the share
    nearby came back about a seventh too small, the other parameters within a tenth.

    Raises
    ------
    InputError : events that know only their month, too few of them, or too many at one time for the memory.
    """
    start, _ = span(events, at, "1D" if events.resolution == "time" else "1M")
    events, _ = reported(events, police_discovered=police_discovered)
    return fit_history(read_history(events, grid).before(start))


def fit_history(history: History) -> SelfExcitingFit:
    """Fit the process to what is known at the history's cut-off."""
    import pandas as pd

    need_times(history, "self_exciting")
    design, since = _design(history)
    fitted = em.maximise(design)
    state = fitted.state
    names = ["uniform", "cell", "block", "place", "surroundings"]
    names += ["same_place", "near", "same_rate", "near_rate", "distance"]
    units = ["events/day", *["share"] * 4, *["offspring"] * 2, *["1/day"] * 2, "m"]
    values = np.r_[state.weights, state.kappa, state.omega, state.sigma]
    return SelfExcitingFit(
        parameters=pd.DataFrame({"name": names, "value": values, "error": fitted.errors, "unit": units}),
        branching=float(state.kappa.sum()),
        log_likelihood=fitted.log_likelihood,
        converged=fitted.converged,
        events=len(design.month),
        pairs=len(design.near[0]),
        since=str((history.at + np.timedelta64(round(since * 86_400), "s")).astype("datetime64[D]")),
        until=str(history.at.astype("datetime64[D]")),
        fitted=fitted,
    )


def self_exciting(history: History, end: np.datetime64) -> Parts:
    """The fitted process carried to the horizon; events expected in it set off others in their own cells."""
    fit = fit_history(history)
    state, days = fit.fitted.state, float((end - history.at) / DAY)
    recent, older = history.rate(tau=_TAU, window=_HISTORY)
    own = state.weights[1:4].sum()
    cells = len(history.grid)
    elsewhere = state.weights[4] * spread(history.grid, recent + older, _SMOOTH) + state.weights[0] / cells
    age = (history.at - history.start) / DAY - _SOONEST
    used = (age > -_SOONEST) & (age < em.WINDOW)
    offspring = [
        k * _later(age[used], w, days) for k, w in zip(state.kappa, state.omega, strict=True)
    ]  # expected in the horizon, per recent event
    inside, outside = _lay_out(history.grid, history.xy[used], history.cell[used], offspring[1], state.sigma)
    same = np.bincount(history.cell[used], weights=offspring[0], minlength=cells)
    following = sum(k * (1 + np.expm1(-w * days) / (w * days)) for k, w in zip(state.kappa, state.omega, strict=True))
    parts = {"recency": own * recent * days + same + inside, "long_term": own * older * days}
    parts["neighbours"] = elsewhere * days + outside
    return {name: part / (1 - following) for name, part in parts.items()}


def _later(age: FloatArray, omega: float, days: float) -> FloatArray:
    """Return the chance that the delay ends in the next ``days``, for events of this age."""
    age, last = np.maximum(age, 0.0), np.minimum(age + days, em.WINDOW)
    chance: FloatArray = (np.exp(-omega * age) - np.exp(-omega * last)) / -np.expm1(-omega * em.WINDOW)
    return chance


def _lay_out(
    grid: Grid, xy: FloatArray, cell: IntArray, weight: FloatArray, sigma: float
) -> tuple[FloatArray, FloatArray]:
    """Return (C,) kernel mass from a cell's own events and from others, summed over points at most 50 m apart."""
    split = int(np.ceil(grid.cell / _FINE))
    reach = int(np.ceil(em.REACH / grid.cell))
    number = np.pad(grid.raster(np.arange(len(grid)), fill=-1).astype(np.int64), reach, constant_values=-1)
    corner = xy - np.floor((xy - grid.origin) / grid.cell) * grid.cell - grid.origin  # within the cell
    steps = (np.arange(split) + 0.5) * grid.cell / split
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    around = [(down, across) for down in range(-reach, reach + 1) for across in range(-reach, reach + 1)]
    total, inside = np.zeros(len(grid)), np.zeros(len(grid))
    for block in np.array_split(np.arange(len(xy)), len(xy) // 5000 + 1):
        mass = np.empty((len(block), len(around)))
        for k, (down, across) in enumerate(around):
            metres = np.sqrt(
                ((points + np.array([across, down]) * grid.cell - corner[block][:, None]) ** 2).sum(axis=2)
            )
            mass[:, k] = np.where(metres < em.REACH, np.exp(-metres / sigma), 0.0).sum(axis=1)
        mass *= (weight[block] / mass.sum(axis=1))[:, None]
        for k, (down, across) in enumerate(around):
            near = number[grid.row[cell[block]] + reach + down, grid.column[cell[block]] + reach + across]
            there = near >= 0
            total += np.bincount(near[there], weights=mass[there, k], minlength=len(grid))
        inside += np.bincount(cell[block], weights=mass[:, len(around) // 2], minlength=len(grid))
    return inside, np.maximum(total - inside, 0.0)


def _design(history: History) -> tuple[em.Design, float]:
    """Return the likelihood's parts, and the first day of the span, counted from the cut-off (negative)."""
    grid, months = history.grid, (history.months - history.at) / DAY
    days = (history.start - history.at) / DAY
    order = np.argsort(days, kind="stable")
    order = order[(days[order] >= -_HISTORY) & (days[order] < 0)]
    days, xy, cell = days[order], history.xy[order], history.cell[order]
    months = np.clip(months, -_HISTORY, 0.0)
    months = months[months[:, 1] > months[:, 0]]
    warm = months[0, 0] * (1 - _WARM) if len(months) else 0.0
    first = int(np.searchsorted(days, warm))
    if len(days) - first < _LEAST_EVENTS:
        raise InputError(
            f"events: got {len(days) - first} to fit 'self_exciting' on, expected at least {_LEAST_EVENTS} in the last "
            "three fifths of the history; use model='decayed_counts'"
        )
    place = _squares(xy, em.PLACE)
    stop, target, source, metres = _pairs(xy, days, first)
    if stop > first:
        first, warm = stop, float(np.floor(days[stop]))
        first = int(np.searchsorted(days, warm)) if days[first] == warm else first
        warm = float(days[first])
    kept = target >= first
    target, source, metres = target[kept], source[kept], metres[kept]
    delay = days[target] - days[source] - _SOONEST
    same = place[target] == place[source]
    number = (target - first).astype(np.int32)
    background, exposure, month = _backgrounds(grid, days, xy, cell, months, first, warm)
    low, high = _stretches(days + _SOONEST, months, warm)
    design = em.Design(
        background, exposure, month, (number[same], delay[same]),
        (number[~same], delay[~same], metres[~same]), low, high,
    )  # fmt: skip
    return design, warm


def _stretches(since: FloatArray, months: FloatArray, warm: float) -> tuple[FloatArray, FloatArray]:
    """Return when, in days after each source, the span begins and ends: a gap in the data is no time without events."""
    begin, stop = np.maximum(months[:, 0], warm), months[:, 1]
    begin, stop = begin[stop > begin], stop[stop > begin]
    new = np.r_[True, begin[1:] > stop[:-1] + 1e-6]
    begin, stop = begin[new], stop[np.r_[new[1:], True]]
    low, high = np.maximum(begin - since[:, None], 0.0), stop - since[:, None]
    used = (high > low) & (low < em.WINDOW)
    return low[used], high[used]


def _pairs(xy: FloatArray, days: FloatArray, first: int) -> tuple[int, IntArray, IntArray, FloatArray]:
    try:
        return em.earlier_pairs(xy, days, first, soonest=_SOONEST, most=_MOST_PAIRS, least=_LEAST_EVENTS)
    except MemoryError as error:
        raise InputError(
            f"events: got {error.args[0]:,} pairs within {em.REACH:g} m among a few thousand events, expected at most "
            f"{em.DENSEST:,}; 'self_exciting' needs events less dense: use model='decayed_counts'"
        ) from error


def _backgrounds(
    grid: Grid, days: FloatArray, xy: FloatArray, cell: IntArray, months: FloatArray, first: int, warm: float,
) -> tuple[FloatArray, FloatArray, IntArray]:  # fmt: skip
    """Return the four backgrounds at each target, their integrals per month, and each target's month."""
    spans = np.column_stack([np.maximum(months[:, 0], warm), months[:, 1]])
    spans = spans[spans[:, 1] > spans[:, 0]]
    month = np.searchsorted(spans[:, 0], days[first:], side="right") - 1
    held = _exposure(months, days[first:])
    scales = [(cell, grid.cell), *((_squares(xy, side), side) for side in (grid.cell / _BLOCKS, em.PLACE))]
    own = [_decayed_before(group, days)[first:] / held / side**2 for group, side in scales]
    around, integral = np.zeros(len(month)), np.zeros((5, len(spans)))
    for k, (begin, stop) in enumerate(spans):
        past = days < begin
        decayed = np.bincount(cell[past], weights=np.exp((days[past] - begin) / _TAU), minlength=len(grid))
        rate = spread(grid, decayed.astype(np.float64), _SMOOTH) / _exposure(months, np.array([begin]))
        around[month == k] = rate[cell[first:][month == k]] / grid.cell**2
        steps = np.linspace(begin, stop, 61)[:-1] + (stop - begin) / 120
        mean = (_decayed_before(np.zeros(len(days), int), days, steps) / _exposure(months, steps)).mean()
        integral[:, k] = (stop - begin) * np.array([1.0, mean, mean, mean, rate.sum()])
    uniform = np.full(len(month), 1 / (len(grid) * grid.cell**2))
    return np.column_stack([uniform, *own, around]), integral, month


def _squares(xy: FloatArray, side: float) -> IntArray:
    """Return (N,) the number of each point's square of this side."""
    return np.unique(np.floor(xy / side), axis=0, return_inverse=True)[1].ravel()


def _exposure(months: FloatArray, at: FloatArray) -> FloatArray:
    """Return the decayed days that the data cover before each time."""
    total = np.zeros(len(at))
    for begin, stop in months:
        late = np.minimum(stop, at)
        total += np.where(late > begin, np.exp((late - at) / _TAU) - np.exp((np.minimum(begin, at) - at) / _TAU), 0.0)
    return np.maximum(total * _TAU, 1e-9)


def _decayed_before(group: IntArray, days: FloatArray, at: FloatArray | None = None) -> FloatArray:
    """Return the decayed number of strictly earlier events of the same group: at each event, or of all at ``at``."""
    if at is not None:
        sums = np.r_[0.0, np.cumsum(np.exp(days / _TAU))]
        return sums[np.searchsorted(days, at)] * np.exp(-at / _TAU)
    order = np.lexsort((days, group))
    ranked, when = group[order], days[order]
    sums = np.r_[0.0, np.cumsum(np.exp(when / _TAU))][:-1]
    new = np.r_[True, ranked[1:] != ranked[:-1]]
    tie = np.maximum.accumulate(np.where(new | np.r_[True, when[1:] != when[:-1]], np.arange(len(when)), 0))
    begin = np.maximum.accumulate(np.where(new, np.arange(len(when)), 0))
    found = np.empty(len(days))
    found[order] = (sums[tie] - sums[begin]) * np.exp(-when / _TAU)
    return found
