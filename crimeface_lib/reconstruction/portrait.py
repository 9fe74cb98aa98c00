"""One or several photos of one person in; a head with its texture, cameras and uncertainty out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.display import Shown, list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.faces import Face, choose_face, detect_faces, find_landmarks, load_image, photo_metadata
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.fit import Fit, fit_landmarks
from crimeface_lib.reconstruction.light import FRONTAL
from crimeface_lib.reconstruction.mesh import Mesh, png_bytes
from crimeface_lib.reconstruction.morphable import MorphableModel, load_morphable_model
from crimeface_lib.reconstruction.photometric import Shading, refine_photometric
from crimeface_lib.reconstruction.shade import render, uncertainty_limits
from crimeface_lib.reconstruction.texture import Texture, bake_texture, line_across_the_nose
from crimeface_lib.reconstruction.view import View

if TYPE_CHECKING:
    import pandas as pd

#: Standard deviation of the model's own landmarks against an annotator's, in distances between the eyes.
_MODEL_SD = 0.02
#: Line across the nose that is taken for spectacles: 9 of 15 photos of spectacles in LFW, 0 of 31 without.
_SPECTACLES = 0.105


@dataclass(frozen=True, slots=True, repr=False)
class Reconstruction(Result):
    """A face in 3D, and what is known about it.

    Parameters
    ----------
    model : the face model used; its ``licence`` goes where the mesh goes.
    fit : coefficients, residuals and posterior.
    cameras : one for each photo, mm as in ``mesh``.
    baked : the texture, and which of it was seen.
    scale : factor from the model's millimetres to those of ``mesh``; 1 unless a length was given.
    sentences : which face of each photo was used, for the report.
    warnings : what the reader must know.
    shading : light and albedo; None where the photometric stage didn't run.
    """

    model: MorphableModel = field(repr=False)
    fit: Fit
    cameras: tuple[Camera, ...] = field(repr=False)
    baked: Texture = field(repr=False)
    scale: float
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    shading: Shading | None = field(default=None, repr=False)

    @property
    def texture(self) -> np.ndarray:
        """(S, S, 3) uint8 RGB, first row on top."""
        return self.baked.image

    @property
    def lighting(self) -> np.ndarray:
        """(photos, 9, 3) spherical harmonics of each photo's light, as in ``Shading``; (0, 9, 3) if not known."""
        return np.zeros((0, 9, 3)) if self.shading is None else self.shading.lighting

    @property
    def albedo(self) -> np.ndarray:
        """(S, S, 3) uint8 sRGB, ``texture`` in an even white light.

        Raises
        ------
        InputError : the photos' light is not known.
        """
        if self.baked.albedo is None:
            raise InputError("albedo: the photos' light is not known; expected reconstruct(..., photometric=True)")
        return self.baked.albedo

    @property
    def vertex_sd(self) -> np.ndarray:
        """(V,) float64, mm along the normal, pose and scale removed."""
        return self.fit.vertex_sd * self.scale

    @property
    def uncertainty_limits(self) -> tuple[float, float]:
        """Ends of the colour scale of ``render(what="uncertainty")``, mm, set by the face."""
        start, stop = self.model.regions["face"]
        return uncertainty_limits(self.vertex_sd[start:stop])

    def mesh(self, expression: bool | int = False) -> Mesh:
        """Return the head, neutral or with the expression of a photo (True is the first)."""
        model = self.model
        vertices = model.decode(self.fit.identity, self._expression(expression)) * self.scale
        return Mesh(
            vertices=vertices, triangles=model.triangles, uv=model.uv, triangles_uv=model.triangles_uv,
            texture=self.texture, vertex_sd=self.vertex_sd, about=self._about(),
        )  # fmt: skip

    def _expression(self, expression: bool | int) -> np.ndarray | None:
        if expression is False:
            return None
        index = 0 if expression is True else expression
        if not 0 <= index < len(self.fit.expressions):
            raise InputError(f"expression: got {index}, expected False, True or 0…{len(self.fit.expressions) - 1}")
        row: np.ndarray = self.fit.expressions[index]
        return row

    def _about(self) -> dict[str, str]:
        photos = len(self.cameras)
        return {
            "title": "3D face reconstruction, an estimate and not a measurement",
            "generator": "crimeface",
            "face_model": f"{self.model.name} {self.model.version}",
            "face_model_source": self.model.source,
            "face_model_licence": self.model.licence,
            "photos": str(photos),
            "light": "told from skin colour" if self.baked.albedo is not None else "left in the texture",
            "texture_observed": f"{self.baked.observed_fraction:.0%}; the rest is mirrored or filled in",
            "scale": "metric scale unknown" if self.scale == 1.0 else f"scaled by {self.scale:.4f} to a length given",
            "axes": "x right of the picture, y up, z out of the face",
        }

    def look(
        self,
        view: str | tuple[float, float] = "frontal",
        *,
        size: int = 512,
        expression: bool | int = True,
        close: bool = False,
    ) -> Camera:
        """Return a camera for a standard view of the head down to the neck, or ``close`` up to the face; see
        ``Camera.look``."""
        vertices = self.mesh(expression).vertices
        points = self.model.landmarks(vertices)
        if close:
            middle = points.mean(0)
            return Camera.look(view, middle + 1.6 * (points - middle), size=size)
        return Camera.look(view, vertices[vertices[:, 1] > points[8, 1] - 50.0], size=size)

    def render(
        self,
        camera: Camera | str | None = None,
        size: int = 512,
        *,
        what: str = "texture",
        expression: bool | int = True,
        limits: tuple[float, float] | None = None,
        lighting: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return a (size, size, 3) uint8 picture; with a Camera, of the camera's own size.

        Parameters
        ----------
        camera : a Camera, the name of a view ("frontal", "three-quarter", "profile", ...), None for frontal.
        what : "texture", "albedo" (the texture without the photo's light), "shape" or "uncertainty".
        expression : as in ``mesh``; the first photo's by default, since the texture was taken with it.
        limits : mm at the ends of the colour scale; ``uncertainty_limits`` by default.
        lighting : (9, 3) light to show the albedo in: one of ``lighting``, or of your making; for texture and albedo.
        """
        mesh = self.mesh(expression)
        observed: np.ndarray | None = self.baked.observed
        if lighting is not None and what not in ("texture", "albedo"):
            raise InputError(f"lighting: got what={what!r}, expected 'texture' or 'albedo'")
        if what == "albedo" or lighting is not None:
            mesh, what, observed = replace(mesh, texture=self.albedo), "texture", None
        if not isinstance(camera, Camera):
            camera = self.look(camera or "frontal", size=size, expression=expression)
        return render(
            mesh, camera, what=what, observed=observed, limits=limits or self.uncertainty_limits, lighting=lighting
        )

    def frontal(self, size: int = 256, *, relight: bool = True) -> np.ndarray:
        """Return a (size, size, 3) uint8 picture of the face from the front with a neutral expression.

        In a soft light from the viewer; in the photo's own where ``relight`` is False or the light is not known.
        """
        camera = self.look("frontal", size=size, expression=False, close=True)
        lighting = FRONTAL if relight and self.baked.albedo is not None else None
        return self.render(camera, expression=False, lighting=lighting)

    def landmarks(self, photo: int = 0) -> np.ndarray:
        """Return the head's (68, 2) landmarks in one of the photos, px; the jaw's are those of the head, not where the
        outline of a turned head is seen."""
        return self.cameras[photo].project(self.model.landmarks(self.mesh(photo).vertices))[0]

    def export(self, path: str | Path, *, expression: bool | int = False) -> tuple[Path, ...]:
        """Write the head as .glb (metres), .obj with .mtl and .png, .ply or .npz (mm); return the files."""
        return self.mesh(expression).export(path)

    def viewer_arrays(self, *, expression: bool | int = True) -> dict[str, np.ndarray]:
        """Return what a WebGL viewer takes, one UV a vertex: ``vertices`` (N, 3) float32 mm, ``triangles`` (T, 3)
        uint32, ``uv`` (N, 2) float32 (origin bottom left), ``texture`` (S, S, 3) uint8, ``vertex_sd`` (N,) float32."""
        mesh = self.mesh(expression)
        triangles, old, uv = mesh.unrolled()
        return {
            "vertices": mesh.vertices[old].astype(np.float32), "triangles": triangles, "uv": uv.astype(np.float32),
            "texture": self.texture, "vertex_sd": self.vertex_sd[old].astype(np.float32),
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return coefficients, cameras' figures, provenance and warnings as JSON can hold them; no geometry."""
        return {
            **self._about(), "fit": self.fit.to_dict(), "views": self.fit.to_frame().to_dict(orient="records"),
            "sentences": list(self.sentences), "warnings": list(self.warnings),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Return one row a photo."""
        return self.fit.to_frame()

    def _repr_html_(self) -> str:
        pictures = "".join(
            f'<img alt="{view} view" width="220" src="data:image/png;base64,'
            f'{base64.b64encode(png_bytes(self.render(view, 320))).decode()}"/>'
            for view in ("frontal", "three-quarter", "profile")
        )
        notes = list_html((*self.sentences, *self.warnings))
        return f"<div>{pictures}</div>{notes}{table_html(self.to_frame().round(2))}"


def reconstruct(
    images: Any,
    *,
    model: str | MorphableModel = "auto",
    photometric: bool = True,
    device: str | None = None,
    which: str | int = "largest",
    detector: str = "dlib",
    landmarker: str = "dlib68",
    shared_expression: bool = False,
    interpupillary_mm: float | None = None,
    texture_size: int = 1024,
) -> Reconstruction:
    """Reconstruct a face in 3D from one or several photos of the same person.

    Parameters
    ----------
    images : a photo or a sequence of photos: path, bytes, file object or (H, W, 3) uint8 RGB.
    model : "auto", the name of an installed face model, or a MorphableModel.
    photometric : let the pixels refine the shape where that is credible (``refine_photometric``), and tell light
        from skin colour. Without it the shape is that of the landmarks.
    device : "cpu", "cuda", "cuda:1"; refused where it isn't there. Whichever it is, the matrices of one face are
        too small to gain from it, and are solved on the CPU.
    which : which face of each photo, as ``faces.choose_face`` takes it.
    shared_expression : the photos show one expression (frames of a moment).
    interpupillary_mm : the person's distance between the pupils, where it is known; fixes the scale.
    texture_size : texels along a side, 64 to 2048.

    Raises
    ------
    NoFaceError : a photo shows no face. ImageError, ShapeError : not a photo.
    InputError : no photo, or an option out of range. MissingBackendError : a device that isn't there.
    """
    if interpupillary_mm is not None and not 30 <= interpupillary_mm <= 90:
        raise InputError(f"interpupillary_mm: got {interpupillary_mm:g}, expected 30 to 90 mm")
    if not isinstance(texture_size, int | np.integer) or not 64 <= texture_size <= 2048:
        raise InputError(f"texture_size: got {texture_size!r}, expected a whole number from 64 to 2048")
    if device is not None:
        resolve_device(device)
    taken = [observe(image, which=which, detector=detector, landmarker=landmarker) for image in _several(images)]
    if not taken:
        raise InputError("images: got none, expected at least one photo")
    loaded = load_morphable_model(model) if isinstance(model, str) else model
    fit = fit_landmarks(loaded, [one.view for one in taken], shared_expression=shared_expression)
    return assemble(
        loaded, taken, fit, photometric=photometric, shared_expression=shared_expression,
        interpupillary_mm=interpupillary_mm, texture_size=texture_size,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Observation(Shown):
    """A photo, the landmarks of the face used as the fit takes them, and which face of how many that is."""

    photo: np.ndarray
    face: Face
    view: View
    sentence: str


def observe(
    image: Any, *, which: str | int = "largest", detector: str = "dlib", landmarker: str = "dlib68"
) -> Observation:
    """Return what one photo says; the first half of ``reconstruct``, and what ``gain_of_views`` takes."""
    photo, focal_prior, lens = _photo(image)
    choice = choose_face(detect_faces(photo, detector=detector), which=which, size=photo.shape[:2])
    landmarks = find_landmarks(photo, choice.face, landmarker=landmarker)
    sd = np.hypot(landmarks.sd, _MODEL_SD * landmarks.interocular)
    # landmarks count from the centre of the first pixel, cameras from its corner
    view = View(landmarks.points + 0.5, photo.shape[:2], sd, focal_prior)
    return Observation(photo, choice.face, view, f"{choice.sentence} {lens}")


def assemble(
    model: MorphableModel,
    taken: Sequence[Observation],
    fit: Fit,
    *,
    photometric: bool = True,
    shared_expression: bool = False,
    interpupillary_mm: float | None = None,
    texture_size: int = 1024,
) -> Reconstruction:
    """Return the reconstruction that a fit makes of the photos; the second half of ``reconstruct``."""
    photos, sentences = [one.photo for one in taken], [one.sentence for one in taken]
    if len(taken) > 1:
        sentences = [f"Photo {number}: {sentence}" for number, sentence in enumerate(sentences, 1)]
    shading = None
    if photometric:
        views = [one.view for one in taken]
        shading = refine_photometric(model, fit, views, photos, shared_expression=shared_expression)
        fit = shading.fit
    lighting = shading.lighting if shading and len(shading.lighting) else None
    shapes = [model.decode(fit.identity, expression) for expression in fit.expressions]
    baked = bake_texture(model, shapes, photos, list(fit.cameras), size=texture_size, lighting=lighting)
    scale = _scale(model, fit, interpupillary_mm)
    cameras = tuple(
        Camera(camera.rotation, camera.translation * scale, camera.focal, camera.principal, camera.size)
        for camera in fit.cameras
    )
    warnings = [*fit.warnings, *(shading.warnings if shading else ())]
    for number, (photo, camera, shape) in enumerate(zip(photos, fit.cameras, shapes, strict=True), 1):
        if line_across_the_nose(photo, camera, model.landmarks(shape)) > _SPECTACLES:
            warnings.append(
                f"Photo {number}: a line crosses the bridge of the nose. Spectacles have no shape here: they are "
                "painted on the texture, and landmarks of eyes and brows are less sure."
            )
    if interpupillary_mm is None:
        warnings.append(
            "Metric scale unknown: a photo doesn't tell a large head far away from a small one nearby; "
            f"millimetres are those of the model's average head (± {fit.scale_sd:.1%} by its prior)."
        )
    return Reconstruction(model, fit, cameras, baked, scale, tuple(sentences), tuple(warnings), shading)


def _several(images: Any) -> Sequence[Any]:
    """Return a list of photos whether one was given or several."""
    return list(images) if isinstance(images, list | tuple) else [images]


def _photo(image: Any) -> tuple[np.ndarray, tuple[float, float] | None, str]:
    """Return the pixels, the prior of the focal length and a sentence that says where that comes from."""
    if isinstance(image, np.ndarray):
        return check_image(image), None, "Focal length fitted with the face: pixels carry no EXIF."
    source = image.read() if hasattr(image, "read") else image
    photo, about = load_image(source), photo_metadata(source)
    how = "fitted with the face" if about.focal_prior is None else "from the photo"
    return photo, about.focal_prior, f"Focal length {how}: {about.focal_note}."


def _scale(model: MorphableModel, fit: Fit, interpupillary_mm: float | None) -> float:
    """Return the factor that puts the pupils, midway between the eyes' corners, as far apart as given."""
    if interpupillary_mm is None:
        return 1.0
    points = model.landmarks(model.decode(fit.identity))
    right, left = points[[36, 39]].mean(0), points[[42, 45]].mean(0)
    return float(interpupillary_mm / np.linalg.norm(left - right))
