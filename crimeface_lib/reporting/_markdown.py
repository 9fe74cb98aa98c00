"""Markdown to HTML where formulas are pictures drawn here: no script, no TeX left on the page."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from html import escape
from typing import Any

import jinja2
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from crimeface_lib.reporting.style import INK, house_style


class _Renderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return formula(body)

    def block_math(self, body: str) -> str:
        return formula(" ".join(body.split()), block=True)

    def latex_environment(self, name: str, body: str) -> str:
        return formula(" ".join(body.split()), block=True)


@jinja2.pass_context
def markdown_to_html(context: Any, source: str) -> str:
    """Return a text cell as HTML; pictures attached to the cell are carried along."""
    attachments = context.get("cell", {}).get("attachments", {})
    renderer = _Renderer(escape=False, attachments=attachments, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)


@lru_cache(maxsize=256)
def formula(tex: str, *, block: bool = False) -> str:
    """Return a formula as an SVG picture; what matplotlib can't set is shown as code."""
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    size = 12.0
    text = f"${tex}$"
    try:
        with house_style():
            width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=FontProperties(size=size))
            figure = Figure(figsize=((width + 2) / 72, (height + 2) / 72))
            figure.patch.set_alpha(0)
            figure.text(0, (depth + 1) / (height + 2), text, size=size, color=INK, parse_math=True)
            picture = io.BytesIO()
            figure.savefig(picture, format="svg", metadata={"Date": None})
    except ValueError:
        return f"<code>{escape(tex)}</code>"
    data = base64.b64encode(picture.getvalue()).decode()
    kind = ' class="cf-math"' if block else ""
    shift = "" if block else f"vertical-align:{-depth - 1:.1f}pt;"
    return (
        f'<img{kind} alt="{escape(tex)}" src="data:image/svg+xml;base64,{data}" '
        f'style="{shift}display:{"block" if block else "inline"};width:{width + 2:.1f}pt;height:{height + 2:.1f}pt">'
    )
