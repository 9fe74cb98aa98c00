"""Does a hotspot stay when the grid is another one? Cell size, grid origin and snap points, each varied by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime.autocorrelation import local_moran
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid, regrid
from crimeface_lib.crime.hotspot import gaussian_surface, getis_ord, top_cells

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

Rule = Literal["gi", "moran", "kde", "top"]
Hot = Callable[[npt.NDArray[np.int64], FloatArray, Grid], BoolArray]
#: More distinct places than any force's snap points: these are exact coordinates, or noise.
MAX_POINTS = 500_000
_PROBES = 4  # points along each side of a cell at which another grid is asked


@dataclass(frozen=True, slots=True)
class Sensitivity(Result):
    """How often each cell is in the hotspot set when choices that nobody can justify are made differently.

    Parameters
    ----------
    share : (C,) of the settings, over the cell's area; each choice varied weighs the same, however many settings it
        had; 1 is a hotspot whatever is chosen.
    reference : (C,) bool, the hotspots on the grid as given: those of the map beside it.
    settings : one row per setting: ``varied`` (cell size, origin, snap points), ``cell``, ``shift_x``, ``shift_y`` in
        metres, ``draw``, ``hot_km2``, ``agreement`` (area in both sets over area in either, with the reference) and
        ``rank_correlation`` (Spearman, of counts per km² in the reference's cells).
    rule : what made a hotspot, as ``hotspot_sensitivity`` takes it; level : see there.
    """

    share: FloatArray = field(repr=False)
    reference: BoolArray = field(repr=False)
    settings: pd.DataFrame = field(repr=False)
    rule: str
    level: float
    events: int
    grid: Grid = field(repr=False)

    def summary(self) -> pd.DataFrame:
        """One row per choice varied: settings, lowest and median agreement and rank correlation."""
        group = self.settings.groupby("varied", sort=False)
        return group.agg(
            settings=("cell", "size"), lowest_agreement=("agreement", "min"), median_agreement=("agreement", "median"),
            lowest_rank_correlation=("rank_correlation", "min"),
        ).reset_index()  # fmt: skip

    def to_frame(self) -> gpd.GeoDataFrame:
        """The cells with their share of settings and whether the reference has them."""
        return self.grid.cells.assign(share=self.share, reference=self.reference)

    def to_dict(self) -> dict[str, Any]:
        hot = self.reference
        return {
            "rule": self.rule, "level": self.level, "events": self.events, "settings": len(self.settings),
            "hotspots": int(hot.sum()), "hotspots_in_nine_of_ten": int((self.share[hot] >= 0.9).sum()),
            "hotspots_in_less_than_half": int((self.share[hot] < 0.5).sum()),
            "others_in_half_or_more": int((self.share[~hot] >= 0.5).sum()),
            "summary": to_plain(self.summary()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        facts = self.to_dict()
        return (
            f"<p><b>{facts['hotspots_in_nine_of_ten']} of {facts['hotspots']} hotspot cells</b> stay in at least nine "
            f"of ten of {facts['settings']} settings; {facts['hotspots_in_less_than_half']} are there in less than "
            f"half; {facts['others_in_half_or_more']} other cells are hotspots in at least half.</p>"
            f"{table_html(self.summary().round(2))}"
        )


def hotspot_sensitivity(
    events: Events,
    grid: Grid,
    *,
    cells: Sequence[float] = (125.0, 250.0, 500.0),
    shifts: Sequence[float] = (0.0, 0.5),
    draws: int = 10,
    snap_reach: float = 150.0,
    rule: Rule = "gi",
    level: float = 0.05,
    reach: int = 1,
    bandwidth: float = 300.0,
    rng: Seed = None,
) -> Sensitivity:
    """Find the hotspots again on other grids and with events spread around their snap points.

    Each setting changes one thing from ``grid``: the cell size; the origin, by ``shifts`` of a cell in x and in y;
    or the places, each event drawn anew, uniformly, from the neighbourhood of its point (what lies nearer to it than
    to any other event's point, no further than ``snap_reach``).

    Parameters
    ----------
    cells : sides in metres; that of ``grid`` itself is left out, it is the reference.
    draws : how often the events are drawn anew; 0 for exact coordinates.
    rule : "gi" asks ``getis_ord`` and "moran" ``local_moran`` (high among high), with ``level`` as alpha and ``reach``;
        "kde" takes the densest ``level`` of the area by ``kde`` with ``bandwidth``, "top" the busiest by count.

    Raises
    ------
    InputError : no event inside the grid, a cell or shift that makes no sense, or nothing left to vary.

    References: Openshaw 1984 (the modifiable areal unit problem); Chainey & Ratcliffe 2005.
    """
    _check(cells, shifts, draws, snap_reach, rule, level)
    index = grid.index_events(events)
    if not (index >= 0).any():
        raise InputError(f"events: got {len(events)}, none of them inside the grid, expected some; choose its area")
    xy, gen = events.coordinates()[index >= 0], make_rng(rng, stream="hotspot_sensitivity")
    probes = _probes(grid)
    hot_cells = _rules(level, reach, bandwidth)[rule]
    reference, counts = _found(xy, grid, hot_cells)
    density = counts / grid.cell**2
    rows: list[dict[str, Any]] = []
    asked: dict[str, FloatArray] = {}
    for varied, other, places, draw in _settings(xy, grid, cells, shifts, draws, snap_reach, gen):
        hot, counts = _found(places, other, hot_cells)
        where = other.index_of(probes).reshape(len(grid), -1)
        covered = (where >= 0).sum(axis=1)
        within = _mean(np.where(where >= 0, hot[where], 0), covered)
        amount = _mean(np.where(where >= 0, counts[where] / other.cell**2, 0.0), covered)
        hits, times = asked.setdefault(varied, np.zeros((2, len(grid))))
        hits += within * (covered > 0)
        times += covered > 0
        either = np.maximum(within, reference).sum()
        rows.append({
            "varied": varied, "cell": other.cell, "shift_x": (other.origin[0] - grid.origin[0]) % other.cell,
            "shift_y": (other.origin[1] - grid.origin[1]) % other.cell, "draw": draw,
            "hot_km2": hot.sum() * other.cell**2 / 1e6,
            "agreement": np.minimum(within, reference).sum() / either if either else np.nan,
            "rank_correlation": _rank_correlation(density, amount),
        })  # fmt: skip
    if not rows:
        raise InputError("cells, shifts, draws: nothing to vary, expected another cell, a shift or at least one draw")
    import pandas as pd

    shares = np.array([_mean(hits[:, None], times) for hits, times in asked.values()])
    share = _mean(shares.T, np.sum([times > 0 for _, times in asked.values()], axis=0))
    return Sensitivity(share, reference, pd.DataFrame(rows), rule, level, len(xy), grid)


def _mean(values: npt.NDArray[Any], number: npt.NDArray[Any]) -> FloatArray:
    """Sum of each row over how many of its entries count; 0 where none does."""
    return values.sum(axis=1) / np.maximum(number, 1)


def _check(
    cells: Sequence[float], shifts: Sequence[float], draws: int, snap_reach: float, rule: str, level: float
) -> None:
    if not all(np.isfinite(c) and c > 0 for c in cells):
        raise InputError(f"cells: got {list(cells)}, expected sides in metres above 0")
    if not all(0 <= s < 1 for s in shifts):
        raise InputError(f"shifts: got {list(shifts)}, expected shares of a cell from 0 to below 1")
    if draws < 0 or not snap_reach > 0:
        raise InputError(f"draws, snap_reach: got {draws}, {snap_reach}, expected draws from 0 and metres above 0")
    if rule not in get_args(Rule):
        raise InputError(f"rule: got {rule!r}, expected one of {', '.join(map(repr, get_args(Rule)))}")
    if not 0 < level < 1:
        raise InputError(f"level: got {level}, expected above 0 and below 1")


def _settings(
    xy: FloatArray, grid: Grid, cells: Sequence[float], shifts: Sequence[float], draws: int, snap_reach: float,
    gen: np.random.Generator,
) -> Iterator[tuple[str, Grid, FloatArray, int]]:  # fmt: skip
    for cell in cells:
        if cell != grid.cell:
            yield "cell size", regrid(grid, cell=cell), xy, 0
    for shift_y in shifts:
        for shift_x in shifts:
            if shift_x or shift_y:
                yield "origin", regrid(grid, cell=grid.cell, shift=(shift_x, shift_y)), xy, 0
    if draws:
        spread = Neighbourhoods.around(xy, reach=snap_reach)
        for draw in range(1, draws + 1):
            yield "snap points", grid, spread.draw(gen), draw


def _probes(grid: Grid) -> FloatArray:
    """Return (C * _PROBES², 2) points spread evenly over each cell, cell by cell."""
    step = (np.arange(_PROBES) + 0.5) / _PROBES - 0.5
    offsets = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2) * grid.cell
    return (grid.centres()[:, None] + offsets).reshape(-1, 2)


def _rules(level: float, reach: int, bandwidth: float) -> dict[str, Hot]:
    """Return what each rule calls hot, from counts per cell and the places inside the grid."""

    def best(values: npt.NDArray[Any]) -> BoolArray:
        hot = np.zeros(len(values), dtype=bool)
        hot[top_cells(values, share=level)] = True
        return hot

    def densest(counts: npt.NDArray[np.int64], xy: FloatArray, grid: Grid) -> BoolArray:
        return best(gaussian_surface(xy, np.ones(len(xy)), grid, bandwidth=bandwidth, edge=True)[0])

    return {
        "gi": lambda counts, xy, grid: getis_ord(counts, grid, reach=reach, alpha=level).hot,
        "moran": lambda counts, xy, grid: local_moran(counts, grid, reach=reach, alpha=level).kind == 1,
        "kde": densest,
        "top": lambda counts, xy, grid: best(counts),
    }


def _found(xy: FloatArray, grid: Grid, hot_cells: Hot) -> tuple[BoolArray, npt.NDArray[np.int64]]:
    """Return (C,) hot cells, none where all counts are equal, and the (C,) counts."""
    index = grid.index_of(xy)
    counts = np.bincount(index[index >= 0], minlength=len(grid))
    hot = hot_cells(counts, xy[index >= 0], grid) if np.ptp(counts) else np.zeros(len(grid), dtype=bool)
    return hot, counts


def _rank_correlation(a: FloatArray, b: FloatArray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else float("nan")


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """Around each distinct point what is nearer to it than to any other, its corners drawn in to a given reach.

    Parameters
    ----------
    point : (N,) which of the (U, 2) sites each event lies at.
    corner : (T, 2, 2) the two outer corners of each triangle that, with its site, makes up the neighbourhoods.
    first : (U + 1,) where each site's triangles begin; ``heaped`` : (T + 1,) their areas, summed up.
    """

    sites: FloatArray
    point: npt.NDArray[np.int64]
    corner: FloatArray
    first: npt.NDArray[np.int64]
    heaped: FloatArray

    @classmethod
    def around(cls, xy: FloatArray, *, reach: float) -> Neighbourhoods:
        from scipy.spatial import Voronoi

        sites, point = np.unique(xy, axis=0, return_inverse=True)
        if len(sites) > MAX_POINTS:
            raise InputError(
                f"draws: got {len(sites):,} distinct places, expected at most {MAX_POINTS:,} snap points; these are no "
                "snap points, use draws=0"
            )
        middle, span = sites.mean(axis=0), np.ptp(sites, axis=0).max() + reach
        turn = np.linspace(0, 2 * np.pi, 9)[:-1]
        frame = np.column_stack([np.cos(turn), np.sin(turn)]) * 10 * span  # so that every site's polygon is closed
        diagram = Voronoi(np.vstack([sites - middle, frame]))
        ridge = np.asarray(diagram.ridge_vertices)
        pairs, ridge = diagram.ridge_points[(ridge >= 0).all(axis=1)], ridge[(ridge >= 0).all(axis=1)]
        owner, corner = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([ridge, ridge])
        order = np.argsort(owner, kind="stable")[: int((owner < len(sites)).sum())]
        owner, corner = owner[order], diagram.vertices[corner[order]]
        out = corner - (sites - middle)[owner][:, None]
        far = np.hypot(out[..., 0], out[..., 1])
        out = out * np.minimum(1.0, reach / np.maximum(far, 1e-9))[..., None]
        area = np.abs(out[:, 0, 0] * out[:, 1, 1] - out[:, 0, 1] * out[:, 1, 0])
        first = np.searchsorted(owner, np.arange(len(sites) + 1))
        return cls(sites, point.ravel(), out, first, np.concatenate([[0.0], np.cumsum(area)]))

    def draw(self, gen: np.random.Generator) -> FloatArray:
        """Return (N, 2) places, one for each event, uniform over the neighbourhood of its point."""
        low, high = self.heaped[self.first[self.point]], self.heaped[self.first[self.point + 1]]
        triangle = np.searchsorted(self.heaped, gen.uniform(low, high), side="right") - 1
        triangle = np.clip(triangle, self.first[self.point], self.first[self.point + 1] - 1)
        u, v = gen.uniform(size=(2, len(self.point)))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        corner = self.corner[triangle]
        return self.sites[self.point] + u[:, None] * corner[:, 0] + v[:, None] * corner[:, 1]
