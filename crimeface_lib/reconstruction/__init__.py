"""A face in 3D from photos: morphable models, cameras, the fit and its uncertainty, texture, pictures, files.

Geometry is in millimetres, head frame: x right of the picture (the subject's left), y up, z out of the face.
Cameras follow OpenCV (x right, y down, z forward), pixel centres at i + 0.5.

Names load on first use, so that the tensor code (``reconstruction.rasterize_torch``) needs only numpy and torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# not lazy: the module has the function's name, and would take its place in the package
from crimeface_lib.reconstruction.rasterize import Fragments, rasterize, rasterize_batch

_HOMES = {
    "BatchReconstruction": "batch",
    "Camera": "camera",
    "Explanation": "explain",
    "Fit": "fit",
    "FitBatch": "fit_batch",
    "Mesh": "mesh",
    "MorphableModel": "morphable",
    "Observation": "portrait",
    "Reconstruction": "portrait",
    "ScanCheck": "scan_check",
    "Shading": "photometric",
    "Texture": "texture",
    "View": "view",
    "ViewGain": "multiview",
    "bake_texture": "texture",
    "compare_with_scan": "scan_check",
    "explain_photos": "explain",
    "fetch_ict": "ict",
    "fit_landmarks": "fit",
    "fit_landmarks_batch": "fit_batch",
    "gain_of_views": "multiview",
    "load_morphable_model": "morphable",
    "observe": "portrait",
    "reconstruct": "portrait",
    "reconstruct_batch": "batch",
    "refine_photometric": "photometric",
    "surface_distance": "surface",
    "to_pytorch3d": "surface",
    "render_origin": "explain",
}

__all__ = [*_HOMES, "Fragments", "rasterize", "rasterize_batch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib.reconstruction' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.reconstruction.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
