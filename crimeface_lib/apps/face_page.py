"""What the page of the face viewer is made of, before anything is shown: buttons, sliders, and where they stand."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from crimeface_lib.apps.page import bullets, column, html, row, split, status

#: Most that is accepted in one go, bytes. The server lets 200 MB through, so that more is answered, not dropped.
MAX_BYTES = 50_000_000
MAX_PHOTOS = 8
LOOKS = {"appearance": "Appearance", "skin": "Even light", "shape": "Shape", "uncertainty": "Uncertainty"}
#: The lamp's sliders: lowest, highest, step and first value; degrees right of and above the viewer, and strength.
LIGHTS = {
    "Light left–right": (-80, 80, 5, 10),
    "Light up–down": (-60, 80, 5, 25),
    "Light strength": (0.5, 3.0, 0.1, 1.7),
}
EMPTY = '<p class="cf-empty">The 3D face appears here. Drag turns it, wheel or pinch zooms.</p>'
_INVITE = "Choose one or several photos of one person, or try the sample."
_CANNOT = (
    "This is an estimate, not an identification: it doesn't say who the person is.",
    "The side that the camera didn't see is mirrored or filled in, not measured.",
    "Of several photos it isn't checked that they show one person: you say so by choosing them.",
    "The appearance holds the photo's own light; the lamp adds to it. In the even light the lamp is the only one.",
)


class FacePage:
    """The widgets of the face viewer; each has a name that is read out."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._make_inputs()
        self._make_outputs()
        self.widget = self._lay_out()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _make_inputs(self) -> None:
        self.upload = widgets.FileUpload(accept="image/*", multiple=True, description="Choose photos")
        self.upload.add_class("cf-upload")
        self.sample = widgets.Button(description="Use the sample photo", button_style="primary")
        self.photo = widgets.Dropdown(
            description="Photo", options=[("1", 0)], tooltip="The photo whose expression and view can be shown"
        )
        self.which = widgets.Dropdown(
            description="Face", options=[("1", 0)], tooltip="The face of this photo that is used"
        )
        self.look = widgets.ToggleButtons(options=[(label, name) for name, label in LOOKS.items()])
        self.wireframe = widgets.ToggleButton(description="Wireframe")
        self.as_photo = widgets.Button(description="As in the photo", tooltip="Its expression, and its view")
        self.neutral = widgets.Button(description="Neutral", tooltip="No expression")
        self.front = widgets.Button(description="Front view")
        self.png = widgets.Button(description="Picture (PNG)", tooltip="The head as it is turned, lit and coloured now")
        self.refile = widgets.Button(description="Files with this expression")
        self.sliders: dict[str, widgets.FloatSlider] = {}
        self.lights = tuple(
            widgets.FloatSlider(description=label, min=low, max=high, step=step, value=value, readout=False)
            for label, (low, high, step, value) in LIGHTS.items()
        )

    def _make_outputs(self) -> None:
        self.status = html(status(_INVITE))
        self.gallery, self.legend = html(css="cf-photo"), html()
        self.downloads, self.facts = html(css="cf-downloads"), html()
        self.canvas = widgets.Box([html(EMPTY)])
        self.canvas.add_class("cf-stage")
        self.expressions = column()

    def _lay_out(self) -> widgets.Box:
        self._tools = row(self.look, self.wireframe, self.front, self.legend)
        lamp = row(*self.lights)
        lamp.add_class("cf-lamp")
        self._below = column(lamp, self.facts)
        self._controls = column(
            html("<h3>Expression</h3>"), row(self.as_photo, self.neutral), self.expressions,
            html("<h3>Save</h3>"), row(self.png), self.downloads, row(self.refile),
        )  # fmt: skip
        side = column(self.photo, self.gallery, self.which, self._controls)
        self._set_ready(False)
        limit = html(f'<span class="cf-note">JPEG, PNG, TIFF, BMP or WebP; up to {MAX_PHOTOS} photos and '
                     f"{self.max_bytes / 1e6:g} MB. They stay on this machine and aren't stored.</span>")  # fmt: skip
        cannot = html(f'<div class="cf-cannot"><b>What this can\'t say</b>{bullets(_CANNOT)}</div>')
        main = column(self._tools, self.canvas, self._below)
        return column(row(self.sample, self.upload, limit), self.status, split(main, side), cannot)

    def _set_ready(self, ready: bool) -> None:
        shown = "" if ready else "none"
        for part in (self._tools, self._below, self._controls):
            part.layout.display = shown
        if not ready:
            self.photo.layout.display = self.which.layout.display = "none"

    def _say(self, text: str, state: Any, *, done: float | None = None) -> None:
        self.status.value = status(text, state=state, done=done)
