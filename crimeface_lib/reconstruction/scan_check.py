"""A reconstruction beside a scan of the same head: the figures, and the distance drawn on the head."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, MissingArtifactError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.metrics.scan import NOW_LANDMARKS, SurfaceComparison, compare_meshes
from crimeface_lib.reconstruction.mesh import Mesh
from crimeface_lib.reconstruction.portrait import Reconstruction
from crimeface_lib.reconstruction.shade import render

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class ScanCheck(Result):
    """How far a scan lies from a reconstruction.

    Parameters
    ----------
    comparison : the figures, as the NoW benchmark takes them.
    covered : the part of the neutral head that the scan covers; its ``vertex_sd`` is the distance, mm.
    limits : mm at the ends of the colour scale.
    """

    comparison: SurfaceComparison
    covered: Mesh = field(repr=False)
    limits: tuple[float, float]
    _face: Reconstruction = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row of the figures."""
        return self.comparison.to_frame()

    def in_words(self) -> str:
        """Return the outcome in a sentence."""
        c = self.comparison
        return (
            f"The scan lies {c.median:.2f} mm from the reconstruction in the median (mean {c.mean:.2f} mm, standard "
            f"deviation {c.std:.2f} mm, {c.within_2mm:.0%} within 2 mm; {c.vertices:,} of its vertices)."
        )

    def render(self, view: str = "frontal", *, size: int = 512) -> np.ndarray:
        """Return a (size, size, 3) uint8 picture of the covered part, coloured by distance."""
        camera = self._face.look(view, size=size, expression=False, close=True)
        return render(self.covered, camera, what="uncertainty", limits=self.limits)

    def _repr_html_(self) -> str:
        return table_html(self.to_frame().round(2))


def compare_with_scan(
    face: Reconstruction,
    scan: str | Path,
    *,
    landmarks: str | Path | np.ndarray | None = None,
    unit: Literal["mm", "cm", "m"] | None = None,
) -> ScanCheck:
    """Compare the neutral head with a scan of the same person, as the NoW benchmark does.

    Size is aligned too, unless the head's was given by ``interpupillary_mm``.

    Parameters
    ----------
    scan : a .ply, .obj, .stl or .glb file.
    landmarks : on the scan, in its unit: (7, 3) outer and inner corner of the right eye, inner and outer corner of the
        left eye, base of the nose, right and left corner of the mouth; or all 68. A file has one ``x y z`` a line,
        with blanks or commas between; .npy will do. None: scan and head lie in one place already.
    unit : of the scan and its landmarks; millimetres by default, metres for .glb.

    Raises
    ------
    InputError, MissingArtifactError, ShapeError : see ``metrics.compare_meshes``; or landmarks of another number.
    """
    head = face.mesh()
    pair = None
    if landmarks is not None:
        on_scan = landmarks if isinstance(landmarks, np.ndarray) else _read(Path(landmarks))
        if on_scan.shape not in ((7, 3), (68, 3)):
            raise ShapeError(f"landmarks: got {on_scan.shape}, expected (7, 3) or (68, 3)")
        on_head = face.model.landmarks(head.vertices)
        pair = (on_head if len(on_scan) == 68 else on_head[list(NOW_LANDMARKS)], on_scan)
    found = compare_meshes(
        (head.vertices, head.triangles), scan, landmarks=pair, scan_unit=unit, scale=face.scale == 1.0
    )
    distance = _on_the_head(head, found)
    kept = np.isfinite(distance)[head.triangles].all(1)
    covered = replace(
        head, triangles=head.triangles[kept], triangles_uv=head.triangles_uv[kept], vertex_sd=np.nan_to_num(distance)
    )
    most = float(np.ceil(np.percentile(found.distance, 95) * 2) / 2)
    return ScanCheck(found, covered, (0.0, max(most, 0.5)), face)


def _on_the_head(head: Mesh, found: SurfaceComparison) -> np.ndarray:
    """Return (V,) mm: the distance of the scan's vertex nearest to each of the head's; NaN where none is near."""
    from scipy.spatial import cKDTree

    tree = cKDTree(found.points)
    spacing = float(np.median(tree.query(found.points[:: max(1, len(found.points) // 2000)], k=2)[0][:, 1]))
    away, index = tree.query(found.alignment.apply(head.vertices))
    return np.where(away <= found.distance[index] + max(3 * spacing, 2.0), found.distance[index], np.nan)


def _read(path: Path) -> np.ndarray:
    """Return the (N, 3) numbers of a landmark file."""
    if not path.is_file():
        raise MissingArtifactError(f"no landmarks at {path}")
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), np.float64)
        return np.array(
            [line.replace(",", " ").split() for line in path.read_text().splitlines() if line.strip()], float
        )
    except (ValueError, OSError) as error:
        raise InputError(f"{path.name}: got {error}, expected one 'x y z' a line") from error
