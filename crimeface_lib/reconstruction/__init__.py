"""A face in 3D from photos: morphable models, cameras, the fit and its uncertainty, texture, pictures, files.

Geometry is in millimetres, head frame: x right of the picture (the subject's left), y up, z out of the face.
Cameras follow OpenCV (x right, y down, z forward), pixel centres at i + 0.5.
"""

from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.fit import Fit, fit_landmarks
from crimeface_lib.reconstruction.ict import fetch_ict
from crimeface_lib.reconstruction.mesh import Mesh
from crimeface_lib.reconstruction.morphable import MorphableModel, load_morphable_model
from crimeface_lib.reconstruction.portrait import Reconstruction, reconstruct
from crimeface_lib.reconstruction.rasterize import Fragments, rasterize
from crimeface_lib.reconstruction.texture import Texture, bake_texture
from crimeface_lib.reconstruction.view import View

__all__ = [
    "Camera",
    "Fit",
    "Fragments",
    "Mesh",
    "MorphableModel",
    "Reconstruction",
    "Texture",
    "View",
    "bake_texture",
    "fetch_ict",
    "fit_landmarks",
    "load_morphable_model",
    "rasterize",
    "reconstruct",
]
