"""Photos in, a 3D face out: turn it, change its expression and the light, see its uncertainty, save it.

The photos stay in the memory of this process: nothing is written to disk and nothing is logged of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
from traitlets.log import get_logger

from crimeface_lib.apps.face_page import EMPTY, LOOKS, MAX_BYTES, MAX_PHOTOS, FacePage
from crimeface_lib.apps.face_parts import expression_groups, file_links, plain_words, sample_photo
from crimeface_lib.apps.face_photos import Photo, gallery, read_photo
from crimeface_lib.apps.page import bullets, excusing, html
from crimeface_lib.core.errors import CrimefaceError, ImageError
from crimeface_lib.core.types import ImageArray

if TYPE_CHECKING:
    from crimeface_lib.apps.face_stage import FaceStage
    from crimeface_lib.reconstruction import MorphableModel, Reconstruction

_TURN = "Drag turns the face, wheel or pinch zooms."


class FaceViewer(FacePage):
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    model : face model, as ``load_morphable_model`` takes it; read when first needed.
    max_bytes : most that is accepted in one upload.
    """

    def __init__(self, *, model: str = "auto", max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes)
        self.model = model
        self.photos: list[Photo] = []
        self.stage: FaceStage | None = None
        self._loaded: MorphableModel | None = None
        self._loading: threading.Thread | None = None
        self._rehearsed: Reconstruction | None = None
        self._quiet = False
        self._listen()

    def _listen(self) -> None:
        self.upload.observe(self._on_upload, "value")
        self.sample.on_click(lambda _: self.show_sample())
        self.photo.observe(lambda _: self._choose_photo(), "value")
        self.which.observe(self._on_which, "value")
        for part in (self.look, self.wireframe):
            part.observe(lambda _: self._show_look(), "value")
        for part in self.lights:
            part.observe(lambda _: self._show_light(), "value")
        self.as_photo.on_click(lambda _: self._show_as_in_photo())
        self.neutral.on_click(lambda _: self._express(None))
        self.front.on_click(lambda _: None if self.stage is None else self.stage.turn(None))
        self.refile.on_click(lambda _: self._work(lambda: self._offer_files("the expression set above")))
        self.png.on_click(lambda _: None if self.stage is None else self.stage.save_picture())

    @property
    def reconstruction(self) -> Reconstruction | None:
        """What is shown."""
        return None if self.stage is None else self.stage.result

    # from photos to a head

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
        self.show_photos([sample_photo()])

    def show_photos(self, sources: Sequence[bytes | ImageArray], *, names: Sequence[str] = ()) -> None:
        """Show the face of one person's photos; whatever is wrong with them is said on the status line.

        Parameters
        ----------
        sources : each the bytes of an image file, or (H, W, 3) uint8 RGB.
        names : of the files; numbers where they are not given.
        """
        named: list[Any] = list(zip(names or [f"number {k}" for k in range(1, len(sources) + 1)], sources, strict=True))
        self._work(lambda: self._show(named))

    def _work(self, task: Callable[[], None]) -> None:
        """Run something long with the buttons that start such things off; its failure is said on the status line."""
        buttons = (self.sample, self.upload, self.photo, self.which, self.refile)
        for button in buttons:
            button.disabled = True
        try:
            with excusing(lambda text: self._say(text, "problem"), what="showing photos", words=plain_words):
                task()
        finally:
            for button in buttons:
                button.disabled = False

    def _show(self, named: list[tuple[str, bytes | memoryview | ImageArray]]) -> None:
        self._clear()
        self._refuse_too_much([len(source) for _, source in named if not isinstance(source, np.ndarray)], len(named))
        if self._loading is not None and self._loading.is_alive():
            self._say("Loading the models…", "busy", done=0)
            self._loading.join()
        for number, (name, source) in enumerate(named):
            which = f"Photo {number + 1} of {len(named)}: l" if len(named) > 1 else "L"
            self._say(f"{which}ooking for a face and its 68 points…", "busy", done=number / (len(named) + 2))
            self.photos.append(read_photo(name, source if isinstance(source, np.ndarray) else bytes(source)))
            self._draw_photos()
        self._fit()

    def _refuse_too_much(self, sizes: Sequence[int], count: int) -> None:
        if count > MAX_PHOTOS:
            raise ImageError(f"These are {count} photos, the limit is {MAX_PHOTOS}. Choose the best ones.")
        if sum(sizes) > self.max_bytes:
            what = "This file has" if count == 1 else "These files together have"
            remedy = "a smaller copy" if count == 1 else "fewer photos or smaller copies"
            limit = f"{self.max_bytes / 1e6:g} MB"
            raise ImageError(f"{what} {sum(sizes) / 1e6:.0f} MB, the limit is {limit}. Choose {remedy}.")

    @property
    def _used(self) -> list[Photo]:
        return [photo for photo in self.photos if photo.seen is not None]

    def _fit(self) -> None:
        """Make one head of the photos in which a face was found, and show it."""
        self._drop_stage()
        taken = [photo.seen for photo in self.photos if photo.seen is not None]
        if not taken:
            many = len(self.photos) > 1
            said = "; ".join(f"{photo.name}: {photo.problem}" if many else photo.problem for photo in self.photos)
            raise ImageError(f"None of these photos can be used. {said}" if many else said)
        result = self._reconstruct(taken)
        self._set_stage(result)
        self._offer_photos()
        left_out = [photo.name for photo in self.photos if photo.seen is None]
        said = self._used[0].sentence if len(self.photos) == 1 else f"One head from {len(taken)} photos."
        if left_out:
            said += f" Left out: {', '.join(left_out)}; why is said beside the head."
        self._say(f"{said} {_TURN}", "ready")
        self._offer_files("the photo's expression" if len(taken) == 1 else "photo 1's expression")
        if len(taken) > 1:
            self._tell_gain(result)

    def _reconstruct(self, taken: list[Any]) -> Reconstruction:
        from crimeface_lib.reconstruction import fit_landmarks
        from crimeface_lib.reconstruction.portrait import assemble

        if self._rehearsed is not None and len(taken) == 1 and np.array_equal(taken[0].photo, sample_photo()):
            return self._rehearsed
        steps, many = len(self.photos) + 2, f"to the {len(taken)} photos" if len(taken) > 1 else "to the points"
        self._say(f"Fitting a head {many}…", "busy", done=len(self.photos) / steps)
        model = self._face_model()
        fit = fit_landmarks(model, [seen.view for seen in taken])
        wait = f"Telling light from skin and painting the head, some seconds{' a photo' if len(taken) > 1 else ''}…"
        self._say(wait, "busy", done=(len(self.photos) + 1) / steps)
        return assemble(model, taken, fit)

    def _tell_gain(self, result: Reconstruction) -> None:
        """Say how far the photos agree, once the head can already be turned: this fits it several times more."""
        from crimeface_lib.reconstruction import gain_of_views

        self._tell(result, ("How far the photos agree is being worked out…",))
        views = [photo.seen.view for photo in self.photos if photo.seen is not None]
        gain = gain_of_views(result.model, views, sets=2, rng=0)
        told = (gain.in_words(), *gain.warnings)
        self._tell(result, tuple(sentence for sentence in told if sentence not in result.warnings))

    def _tell(self, result: Reconstruction, further: tuple[str, ...] = ()) -> None:
        used = f"Face model: {result.model.name} ({result.model.licence})."
        said = bullets((*further, *result.warnings, *result.sentences, used))
        self.facts.value = f'<div class="cf-note">{said}</div>'

    # what is shown, and what is not

    def _clear(self) -> None:
        self._quiet = True
        self.photos, self.photo.options = [], [("1", 0)]
        self._quiet = False
        self._drop_stage()
        self.gallery.value = ""

    def _drop_stage(self) -> None:
        if self.stage is not None:
            self.stage.close()
        self.stage, self.canvas.children = None, (html(EMPTY),)
        self.facts.value = self.downloads.value = self.legend.value = ""
        self._set_ready(False)

    def _draw_photos(self) -> None:
        self.gallery.value = gallery(self.photos, self._active)

    @property
    def _active(self) -> Photo | None:
        used = self._used
        return used[self.photo.value or 0] if used else None

    def _set_stage(self, result: Reconstruction) -> None:
        from crimeface_lib.apps.face_stage import FaceStage

        self.stage = FaceStage(result)
        self._make_sliders(result)
        self._quiet = True
        self.look.options = [(LOOKS[name], name) for name in self.stage.looks]
        self._quiet = False
        self._show_light()
        self._show_look()
        self.canvas.children = (self.stage.plot,)
        self._tell(result)
        self._set_ready(True)

    def _make_sliders(self, result: Reconstruction) -> None:
        self._groups = expression_groups(result.model.expression_names)
        self.sliders = {
            label: widgets.FloatSlider(description=label, min=0, max=1, step=0.02, readout=False)
            for label in self._groups
        }
        self._set_sliders(result.fit.expressions[0])
        for slider in self.sliders.values():
            slider.observe(self._on_slider, "value")
        self.expressions.children = tuple(self.sliders.values())

    def _offer_photos(self) -> None:
        """Offer the photos in use, and the other faces of the one chosen."""
        self._quiet = True
        used, chosen = self._used, self.photo.value
        self.photo.options = [(f"{k} of {len(used)}: {photo.name}", k - 1) for k, photo in enumerate(used, 1)]
        self.photo.value, self.photo.layout.display = chosen, "" if len(used) > 1 else "none"
        self._quiet = False
        self._choose_photo()

    def _choose_photo(self) -> None:
        if self._quiet or (active := self._active) is None:
            return
        self._quiet = True
        count = len(active.faces)
        self.which.options = [(f"{k} of {count}, {face.width:.0f} px wide", k - 1)
                              for k, face in enumerate(active.faces, 1)]  # fmt: skip
        self.which.value, self.which.layout.display = active.index, "" if count > 1 else "none"
        self._quiet = False
        self._draw_photos()

    # what the widgets do

    def _on_upload(self, change: Any) -> None:
        if change["new"]:
            named = [(file["name"], file["content"]) for file in change["new"]]
            self.upload.value = ()
            self._work(lambda: self._show(named))

    def _on_which(self, change: Any) -> None:
        if self._quiet or (active := self._active) is None or change["new"] is None:
            return
        place = next(k for k, photo in enumerate(self.photos) if photo is active)
        self._work(lambda: self._use_face(place, change["new"]))

    def _use_face(self, place: int, which: int) -> None:
        self._say("Looking for the points of this face…", "busy", done=0)
        self.photos[place] = read_photo(self.photos[place].name, self.photos[place].source, which=which)
        self._fit()

    def _on_slider(self, change: Any) -> None:
        if self._quiet or self.stage is None:
            return
        coefficients = self.stage.coefficients.copy()
        coefficients[self._groups[change["owner"].description]] = change["new"]
        self.stage.move(coefficients)

    def _show_as_in_photo(self) -> None:
        if self.stage is not None:
            photo = self.photo.value or 0
            self._express(photo)
            self.stage.turn(photo)

    def _express(self, photo: int | None) -> None:
        """Show the expression of a photo, or none."""
        if self.stage is None:
            return
        fitted = self.stage.result.fit.expressions
        coefficients = np.zeros_like(fitted[0]) if photo is None else fitted[photo].copy()
        self._set_sliders(coefficients)
        self.stage.move(coefficients)

    def _set_sliders(self, coefficients: np.ndarray) -> None:
        self._quiet = True
        for label, modes in self._groups.items():
            self.sliders[label].value = float(np.clip(coefficients[modes].mean(), 0, 1))
        self._quiet = False

    def _show_look(self) -> None:
        if self._quiet or self.stage is None:
            return
        self.stage.show(self.look.value, wireframe=self.wireframe.value)
        self.legend.value = self.stage.scale if self.look.value == "uncertainty" else ""

    def _show_light(self) -> None:
        if self.stage is not None:
            self.stage.light(*(slider.value for slider in self.lights))

    def _offer_files(self, expression: str) -> None:
        if self.stage is None:
            return
        self.downloads.value = '<span class="cf-note">Preparing the files…</span>'
        note = f"The head with {expression} and its texture; OBJ comes as a zip. Millimetres, GLB metres."
        self.downloads.value = file_links(self.stage.mesh(), note)
