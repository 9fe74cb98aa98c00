"""A square grid over an area: one row order for every per-cell array, and the raster behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime.events import Events, check_plane

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class Grid(Result):
    """Square cells inside an area, in a projected plane.

    Parameters
    ----------
    cell : side, metres.
    origin : (x, y) of the south-west corner of the raster, metres.
    shape : (rows, columns) of the raster; row 0 is the southernmost.
    row, column : (C,) int64, where each cell lies in the raster; every per-cell array follows this order.
    crs : of the plane.
    basis : how the area was found, in words, for the report.
    cells : GeoDataFrame with ``row``, ``column`` and the square, in the same order.
    """

    cell: float
    origin: tuple[float, float]
    shape: tuple[int, int]
    row: IntArray = field(repr=False)
    column: IntArray = field(repr=False)
    crs: str
    basis: str
    cells: gpd.GeoDataFrame = field(repr=False)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def area_km2(self) -> float:
        return len(self) * self.cell**2 / 1e6

    @property
    def inside(self) -> BoolArray:
        """(rows, columns) bool: which raster cells belong to the grid."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[self.row, self.column] = True
        return mask

    def centres(self) -> FloatArray:
        """Return (C, 2) cell centres in metres."""
        return np.column_stack([self.column + 0.5, self.row + 0.5]) * self.cell + self.origin

    def raster(self, values: Any, *, fill: float = np.nan) -> FloatArray:
        """Lay (C,) values out as (rows, columns), ``fill`` outside the area."""
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (len(self),):
            raise ShapeError(f"values: got shape {values.shape}, expected ({len(self)},), one per cell of the grid")
        image = np.full(self.shape, fill)
        image[self.row, self.column] = values
        return image

    def index_of(self, points: Any) -> IntArray:
        """Return (N,) the cell of each (N, 2) point in metres, -1 outside the area or where NaN."""
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"points: got shape {points.shape}, expected (N, 2) metres in the grid's plane")
        column, row = (np.floor((points[:, k] - self.origin[k]) / self.cell) for k in (0, 1))
        there = (column >= 0) & (column < self.shape[1]) & (row >= 0) & (row < self.shape[0])
        number = np.full(self.shape, -1, dtype=np.int64)
        number[self.row, self.column] = np.arange(len(self))
        index = np.full(len(points), -1, dtype=np.int64)
        index[there] = number[row[there].astype(np.int64), column[there].astype(np.int64)]
        return index

    def index_events(self, events: Events) -> IntArray:
        """Return (N,) the cell of each event, -1 off the map or outside the area.

        Raises
        ------
        InputError : the events lie in another plane than the grid.
        """
        if str(events.crs) != self.crs:
            raise InputError(f"events: got CRS {events.crs}, expected the grid's {self.crs}; read them with that plane")
        return self.index_of(events.coordinates())

    def count(self, events: Events, *, month: object = None) -> IntArray:
        """Return (C,) events per cell, of one month ("2018-01") or of all."""
        import pandas as pd

        index = self.index_events(events)
        keep = index >= 0
        if month is not None:
            period = pd.Period(str(month), "M")
            if period not in events.months:
                raise InputError(f"month: got {month}, expected one from {events.months[0]} to {events.months[-1]}")
            if events.completeness[period].isna().any():
                raise InputError(f"month: {month} is a gap in the data, not a month without crime; choose another")
            keep &= events.frame["month"].to_numpy() == np.datetime64(str(period), "s")
        return np.bincount(index[keep], minlength=len(self))

    def to_frame(self) -> pd.DataFrame:
        """One row: number of cells, side, area, basis."""
        import pandas as pd

        return pd.DataFrame([{"cells": len(self), "cell_m": self.cell, "area_km2": self.area_km2, "basis": self.basis}])

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.to_frame().iloc[0].to_dict(),
            "crs": self.crs,
            "origin": list(self.origin),
            "shape": list(self.shape),
        }


def make_grid(area: Any, *, cell: float = 250.0, crs: str | None = None, max_cells: int = 2_000_000) -> Grid:
    """Lay square cells over an area.

    Parameters
    ----------
    area : ``Events`` (their occupied cells, grown by one cell all round), a GeoDataFrame (the union of its
        polygons, in a projected CRS), or a shapely polygon with ``crs``. Cells whose centre lies inside belong.
    cell : side, metres; cell edges lie on multiples of it.
    crs : projected plane of a bare polygon.
    max_cells : limit on the raster that spans the area.

    Raises
    ------
    InputError : no area, an unprojected CRS, or a grid too fine, with the cell that fits.

    >>> from shapely.geometry import box
    >>> grid = make_grid(box(0, 0, 1000, 500), cell=250.0, crs="EPSG:27700")
    >>> len(grid), grid.shape
    (8, (2, 4))
    >>> grid.index_of([[10.0, 10.0], [260.0, 10.0], [-5.0, 0.0]]).tolist()
    [0, 1, -1]
    """
    import geopandas as gpd

    if not (np.isfinite(cell) and cell > 0):
        raise InputError(f"cell: got {cell}, expected a side in metres above 0")
    if isinstance(area, Events):
        crs, points, pad = str(area.crs), area.coordinates(), 1
        points = points[np.isfinite(points).all(axis=1)]
        bounds = (*points.min(axis=0), *points.max(axis=0)) if len(points) else ()
        basis = "cells with at least one event, grown by one cell all round"
    else:
        if isinstance(area, gpd.GeoDataFrame | gpd.GeoSeries):
            area, crs = area.geometry.union_all(), str(area.crs)
        bounds, pad = () if area.is_empty else area.bounds, 0
        basis = "cells whose centre lies inside the given area"
    if not bounds:
        raise InputError("area: got nothing with a location, expected events on the map or a polygon")
    check_plane(crs)
    column0, row0 = (int(np.floor(v / cell)) - pad for v in bounds[:2])
    column1, row1 = (int(np.floor(v / cell)) + 1 if pad else int(np.ceil(v / cell)) - 1 for v in bounds[2:])
    shape = (row1 - row0 + 1, column1 - column0 + 1)
    if shape[0] * shape[1] > max_cells:
        fits = cell * float(np.sqrt(shape[0] * shape[1] / max_cells))
        raise InputError(
            f"cell: {cell:g} m makes a raster of {shape[0]:,} x {shape[1]:,} cells, expected at most {max_cells:,}; "
            f"use cell={np.ceil(fits / 10) * 10:g} or a smaller area"
        )
    origin = (column0 * cell, row0 * cell)
    inside = _occupied(points, origin, cell, shape) if pad else _covered(area, origin, cell, shape)
    row, column = np.nonzero(inside)
    return _lay(origin, shape, row, column, cell, str(crs), basis)


def regrid(grid: Grid, *, cell: float, shift: tuple[float, float] = (0.0, 0.0)) -> Grid:
    """Lay other squares over the same area: those whose centre lies in a cell of ``grid``.

    Parameters
    ----------
    cell : side, metres; shift : of the origin to the south-west, in shares of a cell.

    Raises
    ------
    InputError : no cell has its centre inside; it is too large.
    """
    west, south = grid.origin[0] - shift[0] * cell, grid.origin[1] - shift[1] * cell
    shape = tuple(int(np.ceil(n * grid.cell / cell + part - 1e-9))
                  for n, part in zip(grid.shape, shift[::-1], strict=True))  # fmt: skip
    row, column = np.indices(shape).reshape(2, -1)
    inside = grid.index_of(np.column_stack([west + (column + 0.5) * cell, south + (row + 0.5) * cell])) >= 0
    return _lay((west, south), (shape[0], shape[1]), row[inside], column[inside], cell, grid.crs, grid.basis)


def _lay(
    origin: tuple[float, float], shape: tuple[int, int], row: IntArray, column: IntArray, cell: float, crs: str,
    basis: str,
) -> Grid:  # fmt: skip
    import geopandas as gpd
    import shapely

    if len(row) == 0:
        raise InputError(f"cell: no cell of {cell:g} m has its centre inside the area; use a smaller cell")
    west, south = origin[0] + column * cell, origin[1] + row * cell
    squares = shapely.box(west, south, west + cell, south + cell)
    cells = gpd.GeoDataFrame({"row": row, "column": column}, geometry=squares, crs=crs)
    return Grid(float(cell), origin, shape, row, column, crs, basis, cells)


def _occupied(points: FloatArray, origin: tuple[float, float], cell: float, shape: tuple[int, int]) -> BoolArray:
    from scipy.ndimage import binary_dilation

    inside = np.zeros(shape, dtype=bool)
    column, row = np.floor((points - origin) / cell).astype(np.int64).T
    inside[row, column] = True
    return binary_dilation(inside, structure=np.ones((3, 3)))


def _covered(polygon: BaseGeometry, origin: tuple[float, float], cell: float, shape: tuple[int, int]) -> BoolArray:
    import shapely

    shapely.prepare(polygon)
    x = origin[0] + (np.arange(shape[1]) + 0.5) * cell
    y = origin[1] + (np.arange(shape[0]) + 0.5) * cell
    gx, gy = np.meshgrid(x, y)
    return shapely.contains_xy(polygon, gx.ravel(), gy.ravel()).reshape(shape)
