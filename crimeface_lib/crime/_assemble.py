"""From rows with places to ``Events``: one way through the policies for every reader."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime.events import ASB, COLUMNS
from crimeface_lib.crime.quality import POLICIES

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from pyproj import Transformer
    from shapely.geometry.base import BaseGeometry

_FAR = 3.0  # times the radius that holds 99 % of a force's events
_FAR_LEAST = 10_000.0  # metres
_STRETCH = 1.05


def project(lon: FloatArray, lat: FloatArray, *, crs: str, source: str = "EPSG:4326") -> FloatArray:
    """Return (N, 2) metres, NaN where missing or beyond the plane; each point is projected once."""
    import pandas as pd

    there = np.isfinite(lon) & np.isfinite(lat)
    xy = np.full((len(lon), 2), np.nan)
    if not there.any():
        return xy
    pair = np.column_stack([lon[there], lat[there]])
    codes, _ = pd.factorize(np.ascontiguousarray(pair).view(np.complex128).ravel())
    _, first = np.unique(codes, return_index=True)
    unique = np.column_stack(_transformer(source, crs).transform(*pair[first].T))
    unique[~np.isfinite(unique).all(axis=1)] = np.nan
    xy[there] = unique[codes]
    return xy


@lru_cache(maxsize=16)
def _transformer(source: str, crs: str) -> Transformer:
    """Making one takes longer than a file's points."""
    from pyproj import Transformer

    return Transformer.from_crs(source, crs, always_xy=True)


def near(xy: FloatArray, force: pd.Series, area: BaseGeometry | None) -> BoolArray:
    """Return (N,) whether each located event is near its force, or inside ``area``."""
    import shapely

    if area is not None:
        shapely.prepare(area)
        return shapely.intersects_xy(area, xy[:, 0], xy[:, 1])
    inside = np.isfinite(xy[:, 0])
    codes = force.astype("category").cat.codes.to_numpy()
    for code in np.unique(codes[inside]):
        rows = np.flatnonzero((codes == code) & inside)
        distance = np.hypot(*(xy[rows] - np.median(xy[rows], axis=0)).T)
        inside[rows] = distance <= max(_FAR * np.quantile(distance, 0.99), _FAR_LEAST)
    return inside


def settle_ids(
    frame: pd.DataFrame, policies: dict[str, str], *, name: str, has_id: bool = True
) -> tuple[BoolArray, BoolArray, dict[str, Any]]:
    """Return (N,) which rows are no dropped duplicates, (N,) which of these stay, and the counts.

    ``frame`` gets its ``conflict``: ids still shared. Exact duplicates are rows equal in all
    columns, their id included.
    """
    ids = frame["crime_id"]
    present = ids.notna().to_numpy()
    shared = present & ids.duplicated(keep=False).to_numpy()
    again = np.zeros(len(frame), dtype=bool)
    again[shared] = frame[shared].duplicated().to_numpy()
    _refuse_some(again, "duplicates", policies, name, "exact duplicates of another row")
    keep = ~again if policies["duplicates"] == "drop" else np.ones(len(frame), dtype=bool)
    conflict = np.zeros(len(frame), dtype=bool)
    rest = np.flatnonzero(shared & keep)
    conflict[rest[ids.iloc[rest].duplicated(keep=False).to_numpy()]] = True
    frame["conflict"] = conflict
    kinds = frame.loc[conflict].groupby("crime_id", observed=True)["type"].nunique()
    lacking = keep & ~present if has_id else np.zeros(len(frame), dtype=bool)
    _refuse_some(lacking, "missing_id", policies, name, "no id")
    counts = {
        "duplicates_dropped": int(again.sum()),
        "repeated_ids": int(conflict.sum()),
        "conflicting_ids": int((kinds > 1).sum()),
        "missing_id": int(lacking.sum()),
        "missing_id_not_asb": int((lacking & (frame["type"] != ASB).to_numpy()).sum()),
    }
    return keep, (keep & ~lacking if policies["missing_id"] == "drop" else keep), counts


def settle_places(
    xy: FloatArray, inside: BoolArray, policies: dict[str, str], *, name: str
) -> tuple[BoolArray, BoolArray, dict[str, Any]]:
    """Return (N,) which rows stay, (N,) which of all are on the map, and the counts."""
    missing = np.isnan(xy[:, 0])
    outside = ~missing & ~inside
    _refuse_some(missing, "missing_place", policies, name, "no location")
    _refuse_some(outside, "outside", policies, name, "a location far outside")
    keep = np.ones(len(xy), dtype=bool)
    keep &= ~missing | (policies["missing_place"] != "drop")
    keep &= ~outside | (policies["outside"] != "drop")
    counts = {"missing_location": int(missing.sum()), "outside": int(outside.sum())}
    return keep, ~missing & (inside | (policies["outside"] == "keep")), counts


def _refuse_some(rows: BoolArray, policy: str, policies: dict[str, str], name: str, what: str) -> None:
    if policies[policy] == "refuse" and rows.any():
        others = ", ".join(repr(p) for p in POLICIES[policy] if p != "refuse")
        raise SchemaError(
            f"{name}: got {rows.sum():,} rows with {what}, the first is row {np.flatnonzero(rows)[0] + 1:,} of all; "
            f"expected none with {policy}='refuse'; mend the source or choose {others}"
        )


def lsoa_counts(frame: pd.DataFrame, xy: FloatArray) -> dict[str, Any]:
    """Count events without an LSOA, at a point shared within their force and month, and points of several LSOAs."""
    import pandas as pd

    there = np.isfinite(xy[:, 0])
    point = pd.factorize(np.ascontiguousarray(xy[there]).view(np.complex128).ravel())[0].astype(np.int64)
    month = frame["month"].to_numpy()[there].astype("datetime64[M]").astype(np.int64)
    force = frame["force"].astype("category").cat.codes.to_numpy()[there].astype(np.int64)
    key = (point * 4_000 + month % 4_000) * 1_000 + force
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    lsoa = frame["lsoa_code"].astype("category").cat.codes.to_numpy()[there].astype(np.int64)
    many = int(lsoa.max(initial=0)) + 1
    pairs = np.unique((point * many + lsoa)[lsoa >= 0]) // many
    return {
        "missing_lsoa": int(frame["lsoa_code"].isna().sum()),
        "shared_point": int((counts[inverse] > 1).sum()),
        "points_many_lsoa": int((np.unique(pairs, return_counts=True)[1] > 1).sum()),
    }


def to_geoframe(frame: pd.DataFrame, xy: FloatArray, on_map: BoolArray, *, crs: str) -> gpd.GeoDataFrame:
    """Build the GeoDataFrame of ``COLUMNS``; events at one point share one geometry object.

    Raises
    ------
    InputError : metres of the plane are not metres on the ground.
    """
    import geopandas as gpd
    import pandas as pd
    import shapely
    from geopandas.array import GeometryArray

    geometry = np.full(len(frame), None, dtype=object)
    if on_map.any():
        first = frame.iloc[int(np.argmax(on_map))]
        _check_scale(crs, float(first["longitude"]), float(first["latitude"]))
        pair = np.ascontiguousarray(xy[on_map]).view(np.complex128).ravel()
        codes, unique = pd.factorize(pair)
        geometry[on_map] = shapely.points(unique.real, unique.imag)[codes]
    result = gpd.GeoDataFrame(frame, geometry=GeometryArray(geometry, crs=crs))
    return result[list(COLUMNS)]


def _check_scale(crs: Any, lon: float, lat: float) -> None:
    from pyproj import Proj

    scale = float(np.sqrt(Proj(crs).get_factors(lon, lat).areal_scale))
    if not 1 / _STRETCH < scale < _STRETCH:
        raise InputError(
            f"plane: a metre on the ground is {scale:.2f} m in {crs} at longitude {lon:.2f}, latitude {lat:.2f}, "
            "expected the same to within 5 %; distances, areas and cells would be wrong: use a plane made for the "
            "region, such as its national grid or UTM zone"
        )


def check_degrees(lon: FloatArray, lat: FloatArray, *, crs: Any, name: str) -> BoolArray:
    """Return (N,) which degrees lie where ``crs`` is meant to be used.

    Raises
    ------
    SchemaError : most don't; the message tells when exchanging the two would bring them there.
    """
    from pyproj import CRS

    use = CRS(crs).area_of_use  # None for a CRS of one's own
    there = np.isfinite(lon) & np.isfinite(lat)
    if use is None or not there.any():
        return there

    def within(x: FloatArray, y: FloatArray) -> BoolArray:
        across = (
            (x >= use.west - 1) & (x <= use.east + 1)
            if use.west <= use.east
            else (x >= use.west - 1) | (x <= use.east + 1)
        )
        return across & (y >= use.south - 1) & (y <= use.north + 1)

    inside = there & within(lon, lat)
    if inside.sum() * 2 < there.sum():
        first = int(np.flatnonzero(there & ~inside)[0])
        swapped = (there & within(lat, lon)).sum() * 2 >= there.sum()
        remedy = (
            "longitude and latitude look exchanged: swap the two columns" if swapped else "check the CRS of the source"
        )
        raise SchemaError(
            f"{name}: got {(there & ~inside).sum():,} of {there.sum():,} locations outside the area of {CRS(crs).name} "
            f"(west {use.west:g}, south {use.south:g}, east {use.east:g}, north {use.north:g} degrees), the first at "
            f"longitude {lon[first]:.4f}, latitude {lat[first]:.4f}; {remedy}"
        )
    return inside


def dropped(counts: dict[str, int], policies: dict[str, str]) -> dict[str, int]:
    """Return the rows dropped by each policy that drops."""
    of = {"duplicates": "duplicates_dropped", "missing_place": "missing_location",
          "missing_id": "missing_id", "outside": "outside"}  # fmt: skip
    return {policy: counts[name] for policy, name in of.items() if policies[policy] == "drop"}
