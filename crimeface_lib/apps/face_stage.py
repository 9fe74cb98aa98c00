"""The head on the page, in 3D: how it looks, its expression, the lamp, where it is seen from, and a picture of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.apps.face_page import LOOKS
from crimeface_lib.reconstruction.camera import FACING

if TYPE_CHECKING:
    import k3d

    from crimeface_lib.reconstruction import Mesh, Reconstruction

_HEIGHT = 500
#: Code that k3d runs beside its plot. Its lamps are fixed to the viewer; the key lamp is ours to move, the fill stays,
#: and the others are put out, since each costs time in every pixel. Edges are smoothed by drawing more pixels, where a
#: graphics card draws them; in the picture that is saved, always.
_LAMP_CODE = (
    "const w = K3DInstance.getWorld(); "
    "const slow = /swiftshader|llvmpipe|software/i.test(K3DInstance.glInfo.unmaskedRenderer); "
    "const ratio = slow ? devicePixelRatio : Math.max(2, devicePixelRatio); "
    "if (w.renderer.getPixelRatio() !== ratio) w.renderer.setPixelRatio(ratio); "
    "w.recalculateLights({3:.2f}); w.keyLight.intensity *= 1.15; "
    "w.keyLight.position.set({0:.3f}, {1:.3f}, {2:.3f}); w.headLight.visible = w.backLight.visible = false; "
    "K3DInstance.render();"
)
_PICTURE_CODE = (
    "K3DInstance.parameters.antialias = 3; K3DInstance.getScreenshot(2, true).then((canvas) => {"
    "const link = document.createElement('a'); link.download = 'face.png'; link.href = canvas.toDataURL('image/png'); "
    "link.click(); });"
)


class FaceStage:
    """A k3d plot of a reconstruction; its methods send what changes, and nothing else.

    Parameters
    ----------
    result : the head shown, at first with the expression of its first photo.
    """

    def __init__(self, result: Reconstruction) -> None:
        self.result = result
        self.coefficients: np.ndarray = result.fit.expressions[0].copy()
        self._neutral = result.model.decode(result.fit.identity)
        self._look = "appearance"
        self._meshes: dict[str, tuple[Any, np.ndarray]] = {}
        self.plot: k3d.Plot = self._make_plot()
        self._front = list(self.plot.camera)

    @property
    def looks(self) -> list[str]:
        """The looks there are; "skin" only where the photos' light is known."""
        return [look for look in LOOKS if look in self._meshes]

    def mesh(self) -> Mesh:
        """Return the head with the expression that is shown."""
        return replace(self.result.mesh(), vertices=self._vertices())

    def show(self, look: str, *, wireframe: bool) -> None:
        """Show one of ``looks``."""
        self._look = look
        self.move(self.coefficients)
        for name, (mesh, _) in self._meshes.items():
            mesh.visible = name == look
        self._meshes[look][0].wireframe = wireframe

    def move(self, coefficients: np.ndarray) -> None:
        """Give the head another expression, (E,): the vertices of the mesh shown are sent."""
        self.coefficients = coefficients
        mesh, old = self._meshes[self._look]
        mesh.vertices = self._vertices()[old].astype(np.float32)

    def light(self, sideways: float, upwards: float, strength: float) -> None:
        """Put the lamp in a direction, degrees right of and above the viewer, and set its strength."""
        across, up = np.radians([sideways, upwards])
        towards = (np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up))
        self.plot.additional_js_code = _LAMP_CODE.format(*towards, strength)

    def turn(self, photo: int | None) -> None:
        """Show the head turned as in a photo, or from the front."""
        eye, target, up = np.reshape(self._front, (3, 3))
        if photo is not None:
            back = (FACING @ self.result.cameras[photo].rotation).T  # viewer's axes, right, up and towards, as columns
            eye, up = target + np.linalg.norm(eye - target) * back[:, 2], back[:, 1]
        self.plot.camera = [float(value) for value in (*eye, *target, *up)]

    def save_picture(self) -> None:
        """Have the browser save what it shows as face.png, twice as fine."""
        lamp = self.plot.additional_js_code
        self.plot.additional_js_code = _PICTURE_CODE
        self.plot.additional_js_code = lamp  # a page opened anew runs what stands here

    def close(self) -> None:
        """Take the plot and its parts off the page and out of memory."""
        for part in (*self.plot.objects, self.plot):
            part.close()

    @property
    def scale(self) -> str:
        """HTML: the colours of the uncertainty and what they mean."""
        low, high = self.result.uncertainty_limits
        return f'<div class="cf-scale">{low:.1f}<i></i>{high:.1f} mm standard deviation</div>'

    def _vertices(self) -> np.ndarray:
        """Return (V, 3) mm; of the model only the modes that are in use are touched, so that a slider is quick."""
        used = np.flatnonzero(self.coefficients)
        moved = np.tensordot(self.coefficients[used], self.result.model.expression[used], 1)
        vertices: np.ndarray = (self._neutral + moved) * self.result.scale
        return vertices

    def _make_plot(self) -> k3d.Plot:
        import k3d

        from crimeface_lib.reporting import face_view

        result, mesh = self.result, self.mesh()
        surface = {"uv": mesh.uv, "triangles_uv": mesh.triangles_uv}
        plot = face_view(
            mesh.vertices, mesh.triangles, **surface, texture=mesh.texture, vertex_sd=mesh.vertex_sd, height=_HEIGHT
        )
        textured, doubt = plot.objects
        clay = k3d.mesh(
            mesh.vertices.astype(np.float32), mesh.triangles.astype(np.uint32), color=0xD8CEC4, name="shape",
            flat_shading=False, roughness=0.75, visible=False,
        )  # fmt: skip
        plot += clay
        doubt.color_range = list(result.uncertainty_limits)
        every, unrolled = np.arange(len(mesh.vertices)), mesh.unrolled()[1]
        self._meshes = {
            "appearance": (textured, unrolled), "shape": (clay, every), "uncertainty": (doubt, every)
        }  # fmt: skip
        if result.baked.albedo is not None:
            spare = face_view(mesh.vertices, mesh.triangles, **surface, texture=result.albedo)
            (skin,) = spare.objects
            spare.close()
            skin.name, skin.visible = "even light", False
            plot += skin
            self._meshes["skin"] = (skin, unrolled)
        plot.antialias = 0  # at four samples a pixel a software renderer takes twice as long
        for part in plot.objects:
            part.compression_level = 0  # on one machine, packing a move takes longer than sending it
            part.side = "front"  # the inside is drawn over
        plot.camera = close_up(result)
        return plot


def close_up(result: Reconstruction) -> list[float]:
    """Return a k3d camera straight in front of the head, from the neck upwards."""
    vertices = result.mesh(True).vertices
    head = vertices[vertices[:, 1] > result.model.landmarks(vertices)[8, 1] - 30.0]
    low, high = head.min(axis=0), head.max(axis=0)
    middle = (low + high) / 2
    away = 1.1 * (high - low)[:2].max() / 2 / np.tan(np.radians(15)) + (high - middle)[2]
    return [*(middle + (0, 0, away)), *middle, 0.0, 1.0, 0.0]
