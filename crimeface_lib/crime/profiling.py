"""Geographic profiling: in which cells a linked series may have its anchor. An area to look into, never an address.

Two ways: Rossmo's criminal geographic targeting, a score without a probability; and a Bayesian posterior over cells,
with the distance travelled and the buffer around the anchor unknown and averaged over. How well either does, and when
it does not, is measured by ``simulate_profiles``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import list_html
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

Method = Literal["bayes", "rossmo"]
#: As the gate, DPIAs and cards name what is below.
PROFILE_VERSION = "1"
MIN_SITES, MAX_EVENTS, MIN_CELL = 5, 200, 250.0
MAX_CELLS = 250_000
#: Prior of the mean distance from the anchor, metres: log-normal, and the values it is averaged over.
_TYPICAL, _SPREAD = 2000.0, 0.8
_DISTANCES = _TYPICAL * np.exp(_SPREAD * np.linspace(-2.4, 2.4, 17))
_DISTANCE_PRIOR = np.exp(-(np.linspace(-2.4, 2.4, 17) ** 2) / 2) / np.exp(-(np.linspace(-2.4, 2.4, 17) ** 2) / 2).sum()
#: Shapes of the gamma distribution of distances: 2 falls off from the anchor on, above it lies a buffer.
_SHAPES = np.array([2.0, 3.0, 4.0, 6.0])
_IN_CELL = 0.3826  # mean distance of a point of a unit square from its centre

LIMITS = (
    "It ranks areas of a stated cell size to look into. It names no person and no address and is no evidence of guilt.",
    "It supposes that the anchor lies in the area searched and that the series was committed from it (a marauder). For "
    "an offender who travels in to offend (a commuter) it points to the wrong place, and the places alone can't tell.",
    "It supposes that all these events, and no others, are one offender's from one anchor. The table of events says "
    "how far each one alone moves the result.",
    "Where targets are is part of the pattern: unless the density of targets was given they are taken to be evenly "
    "spread.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GeographicProfile(Result):
    """A ranking of cells by how well they would do as the anchor of a series.

    Parameters
    ----------
    score : (C,) non-negative, sums to 1. With "bayes" the posterior probability that the cell holds the anchor, given
        that the area does; with "rossmo" a score that orders cells and is no probability.
    rank : (C,) share of the area that is searched up to and including the cell, best first: 1 / C to 1.
    sites : one row per distinct place: ``x``, ``y`` metres, ``events`` there, and ``influence``, the share of the
        score that moves elsewhere if this place is left out (0 to 1).
    distance : mean distance of the sites from the anchor, metres: posterior mean and 90 % limits; NaN for "rossmo".
    at_edge : share of the score in cells at the edge of the area: much of it says that the anchor may lie outside.
    """

    score: FloatArray = field(repr=False)
    rank: FloatArray = field(repr=False)
    method: str
    events: int
    sites: pd.DataFrame = field(repr=False)
    distance: tuple[float, float, float]
    at_edge: float
    parameters: dict[str, Any]
    caveats: tuple[str, ...]
    grid: Grid = field(repr=False)

    def region(self, *, level: float) -> BoolArray:
        """Return (C,) the fewest cells that together hold the anchor with probability ``level``.

        Raises
        ------
        InputError : a level outside 0 to 1, or a method whose score is no probability; use ``best``.
        """
        if self.method != "bayes":
            raise InputError(f"region: {self.method!r} gives no probability; use best(share=...), or method='bayes'")
        if not 0 < level < 1:
            raise InputError(f"level: got {level}, expected above 0 and below 1")
        return _levels(self.score, self.rank) < level

    def best(self, *, share: float) -> BoolArray:
        """Return (C,) the best cells that make up ``share`` of the area."""
        if not 0 < share <= 1:
            raise InputError(f"share: got {share}, expected above 0 and at most 1")
        return self.rank <= max(share, self.rank.min()) + 1e-12

    def to_frame(self) -> gpd.GeoDataFrame:
        """The cells with score and rank."""
        return self.grid.cells.assign(score=self.score, rank=self.rank)

    def to_dict(self) -> dict[str, Any]:
        regions = {}
        if self.method == "bayes":
            km2 = self.grid.cell**2 / 1e6
            regions = {f"{level:.0%}": float(self.region(level=level).sum() * km2) for level in (0.5, 0.9)}
        return {
            "method": self.method, "version": PROFILE_VERSION, "events": self.events, "sites": len(self.sites),
            "cell_m": self.grid.cell, "area_km2": self.grid.area_km2, "region_km2": regions,
            "distance_m": to_plain(list(self.distance)), "at_edge": self.at_edge,
            "largest_influence": float(self.sites["influence"].max()),
            "parameters": to_plain(self.parameters), "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        facts = self.to_dict()
        said = "; ".join(f"{level} of the probability lies in {km2:,.1f} km²"
                         for level, km2 in facts["region_km2"].items())  # fmt: skip
        return (
            f"<p><b>Geographic profile ({self.method})</b> from {facts['sites']} places of {self.events} events, cells "
            f"of {self.grid.cell:g} m in {self.grid.area_km2:,.1f} km². {said or 'An order of search, no probability'}."
            f" Leaving out one place moves up to {facts['largest_influence']:.0%} of the score.</p>"
            f"{list_html(self.caveats)}"
        )


def geographic_profile(
    events: Events,
    grid: Grid,
    *,
    method: Method = "bayes",
    metric: Literal["manhattan", "euclidean"] | None = None,
    buffer: float | None = None,
    decay: tuple[float, float] = (1.2, 1.2),
    mislinked: float = 0.05,
    prior: npt.ArrayLike | None = None,
    targets: npt.ArrayLike | None = None,
) -> GeographicProfile:
    """Rank cells as the anchor of a linked series of at least five places.

    Parameters
    ----------
    events : the series and nothing else; who linked it, and how surely, is for the report to say.
    grid : the area searched, cells of 250 m or a multiple, on multiples of it; it should reach well beyond the series.
    method : "bayes" (posterior; distance and buffer averaged over) or "rossmo" (criminal geographic targeting).
    metric : distances; "manhattan" for "rossmo" and "euclidean" for "bayes" unless given.
    buffer, decay : of "rossmo": radius B in metres (half the mean distance between nearest sites unless given) and
        the exponents (f, g).
    mislinked : of "bayes": the chance of each place to be another offender's, anywhere among the targets.
    prior : (C,) of "bayes": where anchors may be (homes, say), any scale; even by default.
    targets : (C,) of "bayes": how many targets each cell offers, any scale; even by default.

    Raises
    ------
    RefusedError : cells under 250 m, or across those of 250 m: a profile is an area, not an address.
    InputError : fewer than five distinct places inside the grid, an event outside it, too many events for a series,
        or options of the other method.

    References: Rossmo 2000, Geographic Profiling; O'Leary 2009, J. Investig. Psych. Offender Profil. 6;
    Mohler & Short 2012, SIAM J. Appl. Math. 72.
    """
    if method not in ("bayes", "rossmo"):
        raise InputError(f"method: got {method!r}, expected 'bayes' or 'rossmo'")
    metric = metric or ("manhattan" if method == "rossmo" else "euclidean")
    xy, repeats = _series(events, grid)
    influence = np.zeros(len(xy))
    distance = (float("nan"),) * 3
    if method == "rossmo":
        if prior is not None or targets is not None:
            raise InputError("prior, targets: Rossmo's formula knows neither, expected method='bayes' with them")
        buffer = _buffer(xy, metric) if buffer is None else buffer
        each = _rossmo(_apart(grid.centres(), xy, metric), buffer, decay)
        score = each.sum(axis=1) / each.sum()
        rest = each.sum(axis=1, keepdims=True) - each
        influence = np.abs(rest / rest.sum(axis=0) - score[:, None]).sum(axis=0) / 2
        parameters: dict[str, Any] = {"metric": metric, "buffer_m": float(buffer), "f": decay[0], "g": decay[1]}
    else:
        if buffer is not None:
            raise InputError(
                "buffer: got one with method='bayes', which averages over buffers; expected method='rossmo'"
            )
        model = AnchorModel.on(grid, metric=metric, mislinked=mislinked, prior=prior, targets=targets)
        score, weights, without = model.posterior(xy, leave_out=True)
        distance = model.distance(weights)
        influence = np.abs(without - score).sum(axis=1) / 2
        given = {name: "even" if what is None else "given" for name, what in (("prior", prior), ("targets", targets))}
        parameters = {"metric": metric, "mislinked": mislinked, "typical_distance_m": _TYPICAL, **given}
    return _profile(events, grid, method, xy, repeats, score, influence, distance, parameters)


def _profile(
    events: Events, grid: Grid, method: str, xy: FloatArray, repeats: IntArray, score: FloatArray,
    influence: FloatArray, distance: tuple[float, float, float], parameters: dict[str, Any],
) -> GeographicProfile:  # fmt: skip
    import pandas as pd
    from scipy.ndimage import binary_erosion

    edge = float(score[~binary_erosion(grid.inside, np.ones((3, 3)))[grid.row, grid.column]].sum())
    caveats = [*LIMITS, *events.caveats]
    if len(xy) < len(events):
        caveats.append(f"{len(events)} events lie at {len(xy)} places; each place counts once.")
    if edge > 0.2:
        caveats.append(f"{edge:.0%} of the score lies at the edge of the area: the anchor may well be outside it.")
    if method == "rossmo":
        caveats.append("The score orders cells for a search; it is no probability.")
    sites = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "events": repeats, "influence": influence})
    return GeographicProfile(
        score, search_rank(score), method, len(events), sites, distance, edge, parameters, tuple(caveats), grid
    )


def _series(events: Events, grid: Grid) -> tuple[FloatArray, IntArray]:
    """Return the (S, 2) distinct places and how many events each has, or say why this is no series to profile."""
    if grid.cell < MIN_CELL:
        raise RefusedError(
            f"grid: got cells of {grid.cell:g} m, expected {MIN_CELL:g} m or more: a profile ranks areas, not addresses"
        )
    if any(value % MIN_CELL for value in (grid.cell, *grid.origin)):
        raise RefusedError(
            f"grid: got cells of {grid.cell:g} m from {grid.origin}, expected a multiple of {MIN_CELL:g} m with edges "
            f"on multiples of {MIN_CELL:g} m: profiles on grids that cross could be cut against one another"
        )
    if len(grid) > MAX_CELLS:
        raise InputError(f"grid: got {len(grid):,} cells, expected at most {MAX_CELLS:,}; use larger cells")
    if len(events) > MAX_EVENTS:
        raise InputError(
            f"events: got {len(events):,}, expected one linked series of {MIN_SITES} to {MAX_EVENTS}; "
            "a profile of unlinked events has no meaning"
        )
    index = grid.index_events(events)
    if (index < 0).any():
        raise InputError(
            f"events: got {int((index < 0).sum())} of {len(events)} off the map or outside the grid, expected all of "
            "the series inside; use a larger area, or leave them out and say so"
        )
    sites, repeats = np.unique(events.coordinates(), axis=0, return_counts=True)
    if len(sites) < MIN_SITES:
        raise InputError(
            f"events: got {len(events)} at {len(sites)} distinct places, expected at least {MIN_SITES} places: fewer "
            "don't narrow an area down"
        )
    return sites, repeats


def _apart(centres: FloatArray, xy: FloatArray, metric: str) -> FloatArray:
    """Return (C, S) distances, metres."""
    if metric not in ("manhattan", "euclidean"):
        raise InputError(f"metric: got {metric!r}, expected 'manhattan' or 'euclidean'")
    dx, dy = (np.abs(centres[:, None, k] - xy[None, :, k]) for k in (0, 1))
    return dx + dy if metric == "manhattan" else np.hypot(dx, dy)


def _buffer(xy: FloatArray, metric: str) -> float:
    """Half the mean distance from each site to its nearest."""
    apart = _apart(xy, xy, metric)
    np.fill_diagonal(apart, np.inf)
    return float(apart.min(axis=1).mean() / 2)


def _rossmo(apart: FloatArray, buffer: float, decay: tuple[float, float]) -> FloatArray:
    f, g = decay
    if not (np.isfinite([buffer, f, g]).all() and min(buffer, f, g) > 0):
        raise InputError(f"buffer, decay: got {buffer}, {decay}, expected metres and exponents above 0")
    beyond = apart > buffer
    return np.where(
        beyond, np.maximum(apart, buffer) ** -f, buffer ** (g - f) / (2 * buffer - np.minimum(apart, buffer)) ** g
    )


def rossmo_score(xy: FloatArray, grid: Grid) -> FloatArray:
    """Return (C,) Rossmo's score of (S, 2) places with its usual settings; sums to 1."""
    each = _rossmo(_apart(grid.centres(), xy, "manhattan"), _buffer(xy, "manhattan"), (1.2, 1.2)).sum(axis=1)
    return each / each.sum()


def search_rank(score: FloatArray) -> FloatArray:
    """Return (C,) the share of cells looked into up to each, highest score first, equal scores in cell order."""
    rank = np.empty(len(score))
    rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1) / len(score)
    return rank


def _levels(score: FloatArray, rank: FloatArray) -> FloatArray:
    """Return (C,) the probability of all cells that come before each."""
    order = np.argsort(rank, kind="stable")
    before = np.empty(len(score))
    before[order] = np.cumsum(score[order]) - score[order]
    return before


@dataclass(frozen=True, slots=True)
class AnchorModel:
    """Places given an anchor: gamma-distributed distances, times the targets, normalised over the area; now and then
    a place that is not of the series, anywhere among the targets.

    Parameters
    ----------
    log_norm : (P, C) log of the kernel's sum over the area's targets for an anchor in each cell; P is distances
        times shapes.
    mean, shape, log_weight : (P,) parameters and the log of their prior.
    """

    grid: Grid
    metric: str
    mislinked: float
    log_prior: FloatArray
    targets: FloatArray
    log_norm: FloatArray
    mean: FloatArray
    shape: FloatArray
    log_weight: FloatArray

    @classmethod
    def on(
        cls, grid: Grid, *, metric: str, mislinked: float, prior: npt.ArrayLike | None = None,
        targets: npt.ArrayLike | None = None,
    ) -> AnchorModel:  # fmt: skip
        from scipy.fft import irfft2, next_fast_len, rfft2

        if not 0 <= mislinked < 0.5:
            raise InputError(f"mislinked: got {mislinked}, expected a share of the events from 0 to below 0.5")
        prior_, targets_ = _weights(prior, grid, "prior"), _weights(targets, grid, "targets")
        mean, shape = (axis.ravel() for axis in np.meshgrid(_DISTANCES, _SHAPES, indexing="ij"))
        size = [next_fast_len(2 * n, real=True) for n in grid.shape]
        y, x = (np.minimum(np.arange(n), n - np.arange(n)) * grid.cell for n in size)
        offsets = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
        apart = _floored(_apart(offsets, np.zeros((1, 2)), metric), grid).reshape(size)
        there = rfft2(grid.raster(targets_, fill=0.0), size)
        norm = np.empty((len(mean), len(grid)))
        for p in range(len(mean)):
            kernel = np.exp(_log_kernel(apart, np.log(apart), mean[p], shape[p]))
            norm[p] = irfft2(there * rfft2(kernel), size)[grid.row, grid.column]
        weight = np.repeat(_DISTANCE_PRIOR, len(_SHAPES)) / len(_SHAPES)
        with np.errstate(divide="ignore"):
            return cls(grid, metric, mislinked, np.log(prior_), targets_, np.log(np.maximum(norm, 1e-300)), mean, shape,
                       np.log(weight))  # fmt: skip

    def posterior(self, xy: FloatArray, *, leave_out: bool = False) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (C,) probability of each cell, (P,) that of the parameters, and (S, C) the first without each site.

        Densities are relative to that of the targets, which is the same for every anchor and cancels.
        """
        apart = _floored(_apart(self.grid.centres(), xy, self.metric), self.grid).T
        log_apart = np.log(apart)
        cells = np.full((1 + leave_out * len(xy), len(self.grid)), -np.inf)
        of_parameters = np.empty(len(self.mean))
        for p in range(len(self.mean)):
            each = _log_kernel(apart, log_apart, self.mean[p], self.shape[p]) - self.log_norm[p]
            if self.mislinked:
                each = np.log((1 - self.mislinked) * np.exp(each) + self.mislinked)
            total = each.sum(axis=0) + self.log_prior + self.log_weight[p]
            cells[0] = np.logaddexp(cells[0], total)
            of_parameters[p] = _log_sum(total)
            if leave_out:
                cells[1:] = np.logaddexp(cells[1:], total - each)
        cells = np.exp(cells - cells.max(axis=1, keepdims=True))
        cells /= cells.sum(axis=1, keepdims=True)
        weights = np.exp(of_parameters - _log_sum(of_parameters))
        return cells[0], weights, cells[1:]

    def chances(self, anchor: FloatArray, p: int) -> FloatArray:
        """Return (C,) the chance of each cell to hold a place of the series, given an anchor and parameters."""
        apart = _floored(_apart(self.grid.centres(), anchor[None], self.metric), self.grid)[:, 0]
        log = _log_kernel(apart, np.log(apart), self.mean[p], self.shape[p])
        chance = np.exp(log - log.max()) * self.targets
        return chance / chance.sum()

    def distance(self, weights: FloatArray) -> tuple[float, float, float]:
        """Return mean and 90 % limits of the mean distance, metres."""
        each = weights.reshape(len(_DISTANCES), -1).sum(axis=1)
        low, high = np.interp([0.05, 0.95], np.cumsum(each) - each / 2, _DISTANCES)
        return float(each @ _DISTANCES), float(low), float(high)


def _log_sum(values: FloatArray) -> float:
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum()))


def _floored(apart: FloatArray, grid: Grid) -> FloatArray:
    """A place in the anchor's own cell is as far from it as two points of a cell are, about."""
    return np.maximum(apart, _IN_CELL * grid.cell)


def _weights(given: npt.ArrayLike | None, grid: Grid, name: str) -> FloatArray:
    if given is None:
        return np.full(len(grid), 1.0 / len(grid))
    values: FloatArray = check_array(given, shape=(len(grid),), name=name)
    if (values < 0).any() or not values.sum() > 0:
        raise InputError(
            f"{name}: got values from {values.min():g} to {values.max():g}, expected 0 or more, some above"
        )
    return values / values.sum()


def _log_kernel(apart: FloatArray, log_apart: FloatArray, mean: float, shape: float) -> FloatArray:
    """Gamma density of the distance over the distance (so per area), up to a constant."""
    theta = mean / shape
    return (shape - 2) * (log_apart - np.log(theta)) - apart / theta
