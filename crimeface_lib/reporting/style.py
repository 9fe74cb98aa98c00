"""The one visual language: palette, colour scales and matplotlib settings shared by figures and pages.

Categories are Okabe and Ito's colours, told apart under every common colour-vision deficiency. Scales run
steadily in lightness, so that a grey print keeps their order.

References
----------
Okabe & Ito (2008), Color Universal Design. Nuñez, Anderton & Renslow (2018), cividis, PLoS ONE 13(7).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Okabe–Ito, by name; the order of CATEGORIES is the order in which series take them.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK = "#56B4E9", "#CC79A7", "#F0E442", "#000000"
CATEGORIES = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)

#: Surfaces and text of pages and figures.
INK, MUTED, LINE, WASH, PAPER = "#1B2430", "#59636F", "#D5DAE0", "#F5F6F8", "#FFFFFF"

#: Inches: the width of the text block on A4 with 15 mm margins.
FULL_WIDTH = 7.0
#: CSS pixels that one inch of figure takes on the page: 7 inches fill the measure.
PIXELS_PER_INCH = 130
_DPI = 200

_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # carried by matplotlib: figures look the same on every machine
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.6,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.usetex": False,
    "text.parse_math": False,  # a "$" in a case note is a dollar
    "axes.unicode_minus": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the house settings inside the block; matplotlib's global state is as before afterwards.

    >>> import matplotlib
    >>> before = matplotlib.rcParams["font.size"]
    >>> with house_style():
    ...     inside = matplotlib.rcParams["font.size"]
    >>> inside, bool(matplotlib.rcParams["font.size"] == before)
    (8.5, True)
    """
    import matplotlib

    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    settings: Any = defaults | _RC
    with matplotlib.rc_context(settings):
        yield


@cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class HouseFigure(Figure):
        """A figure that shows itself in a notebook as a sharp PNG, without pyplot and its global list."""

        alt: str = ""

        def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
            width, height = (round(side * PIXELS_PER_INCH) for side in self.get_size_inches())
            data = base64.b64encode(figure_png(self)).decode()
            about = {"width": width, "height": height, "alt": self.alt}
            return {"image/png": data, "text/plain": self.alt or "figure"}, {"image/png": about}

    return HouseFigure


def new_figure(*, height: float, width: float = FULL_WIDTH, alt: str = "") -> Figure:
    """Return an empty figure in the house style; call inside ``house_style()``.

    Parameters
    ----------
    width, height : inches on A4.
    alt : what a reader who can't see the figure is told.
    """
    figure = _figure_class()(figsize=(width, height), layout="constrained")
    figure.alt = alt  # type: ignore[attr-defined]
    return figure


def figure_png(figure: Figure, *, dpi: int = _DPI) -> bytes:
    """Return ``figure`` as PNG bytes, drawn in the house style."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@cache
def sequential() -> Colormap:
    """Return the scale for amounts: pale is little, dark is much; dark also in a grey print."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    cividis = matplotlib.colormaps["cividis"]
    stops: Any = ["#F6F3E6", *(cividis(p) for p in (0.9, 0.68, 0.42, 0.2, 0.0))]
    return LinearSegmentedColormap.from_list("cf_sequential", stops)


def css_variables() -> str:
    """Return the palette as CSS custom properties, so that pages and figures can't drift apart."""
    names = {
        "ink": INK, "muted": MUTED, "line": LINE, "wash": WASH, "paper": PAPER,
        "blue": BLUE, "orange": ORANGE, "green": GREEN, "vermillion": VERMILLION,
    }  # fmt: skip
    return ":root{" + "".join(f"--cf-{name}:{value};" for name, value in names.items()) + "}"
