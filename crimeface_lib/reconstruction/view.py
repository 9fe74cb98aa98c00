"""What one photo says to the fit: landmarks, how sure they are, and what is known of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError, ShapeError

#: Fewer than this many landmarks in a view don't fix its camera.
MINIMUM_LANDMARKS = 12
#: Median, in longer sides of the photo, and log-normal spread of the focal length where nothing is known: a 22°
#: field of view.
FOCAL_PER_SIDE, FOCAL_SPREAD = 0.5 / float(np.tan(np.deg2rad(11.0))), 0.35


@dataclass(frozen=True, slots=True)
class View(Shown):
    """What one photo says.

    Parameters
    ----------
    points : (68, 2) float64 px, Multi-PIE/iBUG order; NaN rows are landmarks not seen.
    size : (height, width) px.
    sd : standard deviation of a landmark, px; one number or (68,).
    focal_prior : (median px, standard deviation of its logarithm), from EXIF say; None is a 22° field of
        view across the longer side, ± 35 %.
    """

    points: np.ndarray
    size: tuple[int, int]
    sd: float | np.ndarray = 2.0
    focal_prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        points = check_array(self.points, shape=(68, 2), name="points", finite=False)
        seen = int(np.isfinite(points).all(1).sum())
        if seen < MINIMUM_LANDMARKS:
            raise InputError(f"points: got {seen} landmarks, expected at least {MINIMUM_LANDMARKS} to fix a camera")
        sd = check_array(np.broadcast_to(self.sd, 68), shape=(68,), name="sd")
        if (sd <= 0).any():
            raise InputError(f"sd: got {sd.min():g}, expected positive pixels")
        if min(self.size) < 1:
            raise ShapeError(f"size: got {self.size}, expected (height, width) in px")
        if self.focal_prior is not None and not (self.focal_prior[0] > 0 and self.focal_prior[1] > 0):
            raise InputError(f"focal_prior: got {self.focal_prior}, expected (median px, log sd), both positive")
        span = np.nanmax(points, 0) - np.nanmin(points, 0)
        if span.min() < 2:
            raise InputError(f"points: got landmarks within {span.min():.2g} px, expected a face")

    @property
    def focal(self) -> tuple[float, float]:
        if self.focal_prior is not None:
            return self.focal_prior
        return max(self.size) * FOCAL_PER_SIDE, FOCAL_SPREAD
