"""A photo in, a 3D face out: turn it, change its expression, see its uncertainty, save it.

The photo stays in the memory of this process: nothing is written to disk and nothing is logged of it.
"""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
from traitlets.log import get_logger

from crimeface_lib.apps.face_parts import close_up, draw_photo, expression_groups, model_file, plain_words, sample_photo
from crimeface_lib.apps.page import bullets, column, html, row, split, status
from crimeface_lib.core.errors import CrimefaceError, ImageError
from crimeface_lib.core.types import ImageArray

if TYPE_CHECKING:
    import k3d

    from crimeface_lib.faces import Face, Landmarks
    from crimeface_lib.reconstruction import MorphableModel, Reconstruction

#: Largest photo accepted, bytes. The server lets 200 MB through, so that a larger photo is answered, not dropped.
MAX_BYTES = 25_000_000
LOOKS = {"appearance": "Appearance", "skin": "Even light", "shape": "Shape", "uncertainty": "Uncertainty"}
_HEIGHT, _LIGHT = 500, 1.7
_KINDS = {"GLB": "model/gltf-binary", "OBJ": "application/zip", "PLY": "application/octet-stream"}
_INVITE = "Choose a photo, or try the sample."
_EMPTY = '<p class="cf-empty">The 3D face appears here. Drag turns it, wheel or pinch zooms.</p>'
_OUR_FAULT = "Something went wrong on our side: the server's log has the details. Try another photo."
_CANNOT = (
    "This is an estimate, not an identification: it doesn't say who the person is.",
    "The side that the camera didn't see is mirrored or filled in, not measured.",
)


class FaceViewer:
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    model : face model, as ``load_morphable_model`` takes it; read when first needed.
    max_bytes : largest photo accepted.
    """

    def __init__(self, *, model: str = "auto", max_bytes: int = MAX_BYTES) -> None:
        self.model, self.max_bytes = model, max_bytes
        self.reconstruction: Reconstruction | None = None
        self._loaded: MorphableModel | None = None
        self._loading: threading.Thread | None = None
        self._rehearsed: Reconstruction | None = None
        self._image: ImageArray | None = None
        self._plot: k3d.Plot | None = None
        self._meshes: dict[str, tuple[Any, np.ndarray]] = {}
        self._quiet = False
        self._make_inputs()
        self._make_outputs()
        self.widget = self._lay_out()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _make_inputs(self) -> None:
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="Choose a photo")
        self.upload.add_class("cf-upload")
        self.sample = widgets.Button(description="Use the sample photo", button_style="primary")
        self.which = widgets.Dropdown(description="Face", options=[("1", 0)])
        self.look = widgets.ToggleButtons(options=[(label, name) for name, label in LOOKS.items()])
        self.light = widgets.FloatSlider(description="Light", min=0.5, max=3.0, step=0.1, value=_LIGHT, readout=False)
        self.wireframe = widgets.ToggleButton(description="Wireframe")
        self.as_photo = widgets.Button(description="As in the photo")
        self.neutral = widgets.Button(description="Neutral")
        self.sliders: dict[str, widgets.FloatSlider] = {}
        self.upload.observe(self._on_upload, "value")
        self.sample.on_click(lambda _: self.show_sample())
        self.which.observe(self._on_which, "value")
        self.look.observe(lambda _: self._show_look(), "value")
        self.light.observe(lambda _: self._show_light(), "value")
        self.wireframe.observe(lambda _: self._show_look(), "value")
        self.as_photo.on_click(lambda _: self._set_sliders(as_photo=True))
        self.neutral.on_click(lambda _: self._set_sliders(as_photo=False))

    def _make_outputs(self) -> None:
        self.status = html(status(_INVITE))
        self.photo, self.legend = html(css="cf-photo"), html()
        self.downloads, self.facts = html(css="cf-downloads"), html()
        self.stage = widgets.Box([html(_EMPTY)])
        self.stage.add_class("cf-stage")
        self.expressions = column()

    def _lay_out(self) -> widgets.Box:
        self._tools = row(self.look, self.wireframe, self.light, self.legend)
        self._side = column(self.photo, html("<h3>Expression</h3>"), row(self.as_photo, self.neutral), self.expressions,
                            html("<h3>Save</h3>"), self.downloads)  # fmt: skip
        self._set_ready(False)
        limit = html(f'<span class="cf-note">JPEG, PNG, TIFF, BMP or WebP, up to {self.max_bytes / 1e6:g} MB. '
                     "It stays on this machine and isn't stored.</span>")  # fmt: skip
        cannot = html(f'<div class="cf-cannot"><b>What this can\'t say</b>{bullets(_CANNOT)}</div>')
        main = column(self._tools, self.stage, self.facts)
        return column(row(self.sample, self.upload, limit), self.status, self.which, split(main, self._side), cannot)

    def warm_up(self) -> None:
        """Load models and compile on the sample photo in the background, so that the first face comes sooner."""
        self._loading = threading.Thread(target=self._rehearse, daemon=True)
        self._loading.start()

    def _rehearse(self) -> None:
        from crimeface_lib.reconstruction import reconstruct

        try:
            self._rehearsed = reconstruct(sample_photo(), model=self._face_model())
        except CrimefaceError as error:  # what is missing is said when a photo is shown
            get_logger().info("no rehearsal: %s", type(error).__name__)

    def _face_model(self) -> MorphableModel:
        from crimeface_lib.reconstruction import load_morphable_model

        if self._loaded is None:
            self._loaded = load_morphable_model(self.model)
        return self._loaded

    def show_sample(self) -> None:
        """Show the public-domain portrait that scikit-image carries."""
        self.show_photo(sample_photo())

    def show_photo(self, source: bytes | ImageArray, *, which: int = 0) -> None:
        """Show the face of a photo; whatever is wrong with it is said on the status line.

        Parameters
        ----------
        source : bytes of an image file, or (H, W, 3) uint8 RGB.
        which : which face, 0 is the largest.
        """
        buttons = (self.sample, self.upload, self.which)
        for button in buttons:
            button.disabled = True
        try:
            self._show(source, which)
        except CrimefaceError as error:
            self._say(plain_words(error), "problem")
        except Exception:
            logger = get_logger()  # the kernel's own: what is printed here would go to the page
            logger.exception("showing a photo failed")
            self._say(_OUR_FAULT, "problem")
        finally:
            for button in buttons:
                button.disabled = False

    def _show(self, source: bytes | ImageArray, which: int) -> None:
        from crimeface_lib.faces import choose_face, detect_faces, find_landmarks, load_image

        self._clear()
        if isinstance(source, bytes) and len(source) > self.max_bytes:
            raise ImageError(self._too_large(len(source)))
        if self._loading is not None and self._loading.is_alive():
            self._say("Loading the models…", "busy")
            self._loading.join()
        self._say("1 of 3: looking for a face…", "busy")
        image = load_image(source) if isinstance(source, bytes) else source
        faces = detect_faces(image)
        choice = choose_face(faces, which=which, size=image.shape[:2]) if which else choose_face(faces)
        self._image = image
        self._offer(faces, choice.index)
        self._draw_photo(faces, choice.index, None)
        self._say("2 of 3: finding 68 points on the face…", "busy")
        self._draw_photo(faces, choice.index, find_landmarks(image, choice.face))
        self._say("3 of 3: fitting the 3D face, some seconds…", "busy")
        self._fit(choice.index)
        self._say(f"{choice.sentence} Drag turns the face, wheel or pinch zooms.", "ready")
        self._offer_files()

    def _fit(self, index: int) -> None:
        from crimeface_lib.reconstruction import reconstruct

        assert self._image is not None
        if self._rehearsed is not None and np.array_equal(self._image, sample_photo()):
            result = self._rehearsed
        else:
            result = reconstruct(self._image, model=self._face_model(), which=index)
        self.reconstruction = result
        self._make_sliders(result)
        self._make_plot(result)
        self._set_ready(True)
        used = f"Face model: {result.model.name} ({result.model.licence})."
        self.facts.value = f'<div class="cf-note">{bullets((used, *result.warnings))}</div>'

    def _too_large(self, size: int) -> str:
        return f"This file has {size / 1e6:.0f} MB, the limit is {self.max_bytes / 1e6:g} MB. Choose a smaller copy."

    def _clear(self) -> None:
        self.reconstruction = self._image = None
        self._set_ready(False)
        if self._plot is not None:
            for part in (*self._plot.objects, self._plot):
                part.close()
        self._plot, self._meshes, self.stage.children = None, {}, (html(_EMPTY),)
        self.photo.value = self.facts.value = self.downloads.value = ""

    def _set_ready(self, ready: bool) -> None:
        shown = "" if ready else "none"
        self._tools.layout.display = self._side.layout.display = shown
        if not ready:
            self.which.layout.display = "none"

    def _say(self, text: str, state: Any) -> None:
        self.status.value = status(text, state=state)

    # what the widgets do

    def _on_upload(self, change: Any) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self.upload.value = ()
        if file["size"] > self.max_bytes:
            self._clear()
            self._say(self._too_large(file["size"]), "problem")
        else:
            self.show_photo(bytes(file["content"]))

    def _on_which(self, change: Any) -> None:
        if not self._quiet and self._image is not None and change["new"] is not None:
            self.show_photo(self._image, which=change["new"])

    def _offer(self, faces: list[Face], index: int) -> None:
        """Offer the other faces of the photo, numbered as in the picture, largest first."""
        self._quiet = True
        self.which.options = [(f"{i + 1} of {len(faces)}, {face.width:.0f} px wide", i) for i, face in enumerate(faces)]
        self.which.value = index
        self._quiet = False
        self.which.layout.display = "" if len(faces) > 1 else "none"

    def _draw_photo(self, faces: list[Face], index: int, landmarks: Landmarks | None) -> None:
        assert self._image is not None
        self.photo.value = draw_photo(self._image, faces, index, landmarks=landmarks)
        self._side.layout.display = ""

    def _make_plot(self, result: Reconstruction) -> None:
        import k3d

        from crimeface_lib.reporting import face_view

        mesh = result.mesh(True)
        surface = {"uv": mesh.uv, "triangles_uv": mesh.triangles_uv}
        plot = face_view(
            mesh.vertices, mesh.triangles, **surface, texture=mesh.texture, vertex_sd=mesh.vertex_sd, height=_HEIGHT
        )
        textured, doubt = plot.objects
        clay = k3d.mesh(
            mesh.vertices.astype(np.float32), mesh.triangles.astype(np.uint32), color=0xD8CEC4, name="shape",
            flat_shading=False, side="double", roughness=0.75, visible=False,
        )  # fmt: skip
        plot += clay
        plot.camera = close_up(result)
        doubt.color_range = list(result.uncertainty_limits)
        every = np.arange(len(mesh.vertices))
        self._meshes = {
            "appearance": (textured, mesh.unrolled()[1]),
            "shape": (clay, every),
            "uncertainty": (doubt, every),
        }
        if result.baked.albedo is not None:
            spare = face_view(mesh.vertices, mesh.triangles, **surface, texture=result.albedo)
            (skin,) = spare.objects
            spare.close()
            skin.name, skin.visible = "even light", False
            plot += skin
            self._meshes["skin"] = (skin, self._meshes["appearance"][1])
        self.look.options = [(label, name) for name, label in LOOKS.items() if name in self._meshes]
        low, high = doubt.color_range
        self._scale = f'<div class="cf-scale">{low:.1f}<i></i>{high:.1f} mm standard deviation</div>'
        self._plot, self.stage.children = plot, (plot,)
        self._show_light()
        self._show_look()

    def _make_sliders(self, result: Reconstruction) -> None:
        self._groups = expression_groups(result.model.expression_names)
        self.sliders = {
            label: widgets.FloatSlider(
                description=label, min=0, max=1, step=0.02, value=self._fitted(modes), readout=False
            )
            for label, modes in self._groups.items()
        }
        for slider in self.sliders.values():
            slider.observe(self._on_slider, "value")
        self.expressions.children = tuple(self.sliders.values())
        self._coefficients = result.fit.expressions[0].copy()

    def _fitted(self, modes: list[int]) -> float:
        assert self.reconstruction is not None
        return float(np.clip(self.reconstruction.fit.expressions[0][modes].mean(), 0, 1))

    def _on_slider(self, change: Any) -> None:
        if self._quiet:
            return
        label = change["owner"].description
        self._coefficients[self._groups[label]] = change["new"]
        self._move()

    def _set_sliders(self, *, as_photo: bool) -> None:
        if self.reconstruction is None:
            return
        fitted = self.reconstruction.fit.expressions[0]
        self._coefficients = fitted.copy() if as_photo else np.zeros_like(fitted)
        self._quiet = True
        for label, modes in self._groups.items():
            self.sliders[label].value = self._fitted(modes) if as_photo else 0.0
        self._quiet = False
        self._move()

    def _move(self) -> None:
        """Send the vertices of the mesh that is shown, and nothing else."""
        if self.reconstruction is None or not self._meshes:
            return
        result = self.reconstruction
        vertices = result.model.decode(result.fit.identity, self._coefficients) * result.scale
        mesh, old = self._meshes[self.look.value]
        mesh.vertices = vertices[old].astype(np.float32)

    def _show_look(self) -> None:
        self._move()
        for name, (mesh, _) in self._meshes.items():
            mesh.visible = name == self.look.value
            if mesh.visible:
                mesh.wireframe = self.wireframe.value
        self.legend.value = self._scale if self.look.value == "uncertainty" and self._meshes else ""

    def _show_light(self) -> None:
        if self._plot is not None:
            self._plot.lighting = self.light.value

    def _offer_files(self) -> None:
        """Make the files, with the photo's expression, into links that hold them: nothing is left on disk."""
        assert self.reconstruction is not None
        self.downloads.value = '<span class="cf-note">Preparing the files…</span>'
        links = []
        for kind, mime in _KINDS.items():
            data, suffix = model_file(self.reconstruction, kind), "zip" if kind == "OBJ" else kind.lower()
            links.append(
                f'<a download="face.{suffix}" href="data:{mime};base64,{base64.b64encode(data).decode()}" '
                f'title="{len(data) / 1e6:.1f} MB">{kind}</a>'
            )
        note = "The face as in the photo, with its texture; OBJ comes as a zip. Millimetres, GLB metres."
        self.downloads.value = f'{"".join(links)}<p class="cf-note">{note}</p>'
