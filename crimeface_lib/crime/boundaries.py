"""Borders of areas: polygons from a file, in the plane of the events."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.crime.events import check_plane

if TYPE_CHECKING:
    import geopandas as gpd


def read_boundaries(
    path: str | Path,
    *,
    crs: Any,
    layer: str | None = None,
    select: Mapping[str, str | Iterable[str]] | None = None,
) -> gpd.GeoDataFrame:
    """Read polygons from GeoPackage, GeoJSON, KML or a zipped shapefile, in a plane, valid and without heights.

    Parameters
    ----------
    crs : projected, in metres: that of the events (``events.crs``).
    layer : which, where a file has several.
    select : only polygons whose columns have these values: {"name": "City of London"} or {"name": ["Kent", "Surrey"]}.

    Raises
    ------
    InputError : no such file or layer, several layers and none named, not a format that can be read, a value to select
        that is not there.
    SchemaError : no CRS, no polygons or something else among them, a lacking column.
    """
    import pyogrio
    import shapely

    check_plane(crs)
    file = Path(path)
    if not file.is_file():
        raise InputError(f"boundaries: no such file: {file.name}")
    source = f"/vsizip/{file}" if file.suffix.lower() == ".zip" else file
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        chosen = _layer(layers, layer, file.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL's remarks on what a file might also hold
            found = pyogrio.read_dataframe(source, layer=chosen)
    except (ValueError, OSError, RuntimeError) as error:  # what pyogrio and GDAL raise
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file.name}: could not be read ({str(error).splitlines()[0]}); expected polygons in GeoPackage, GeoJSON, "
            "KML or a zipped shapefile"
        ) from error
    shapes = np.asarray(getattr(found, "geometry", []), dtype=object)
    other = {s.geom_type for s in shapes if s is not None} - {"Polygon", "MultiPolygon"}
    if not len(shapes) or other or all(s is None or s.is_empty for s in shapes):
        got = f"{', '.join(sorted(other))} among {len(shapes)} shapes" if other else "no shape"
        raise SchemaError(f"{file.name}: got {got}, expected polygons only; choose another layer or file")
    if found.crs is None:
        raise SchemaError(
            f"{file.name}: got no CRS, expected one in the file; save it with its CRS (a shapefile's .prj)"
        )
    found = found[[s is not None and not s.is_empty for s in shapes]]
    for column, wanted in (select or {}).items():
        found = _select(found, column, [wanted] if isinstance(wanted, str) else list(wanted), file.name)
    flat = shapely.make_valid(shapely.force_2d(np.asarray(found.geometry)))
    return found.set_geometry(flat, crs=found.crs).to_crs(crs).reset_index(drop=True)


def _layer(layers: list[str], layer: str | None, name: str) -> str:
    have = ", ".join(layers) or "none"
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer is None or layer not in layers:
        raise InputError(f"{name}: layer: got {layer or 'none named'}, expected one of: {have}")
    return layer


def _select(found: gpd.GeoDataFrame, column: str, wanted: list[str], name: str) -> gpd.GeoDataFrame:
    columns = [str(c) for c in found.columns if c != found.geometry.name]
    if column not in columns:
        raise SchemaError(f"{name}: select: got column {column!r}, expected one of: {', '.join(columns)}")
    values = found[column].astype(str)
    if unknown := sorted(set(map(str, wanted)) - set(values)):
        have = sorted(set(values))
        shown = ", ".join(have[:40]) + ("; …" if len(have) > 40 else "")
        raise InputError(f"{name}: select {column}: got {', '.join(unknown)}, expected some of: {shown}")
    return found[values.isin(list(map(str, wanted)))]
