"""The table at which a candidate list is compared: the probe, one candidate at a time, and, when asked, the scores."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets

from crimeface_lib.apps.lineup_parts import (
    REGIONS,
    VIEWS,
    candidate_facts,
    candidates_table,
    pair_html,
    quality_html,
    score_html,
    view_style,
)
from crimeface_lib.apps.page import bullets, column, html, row

if TYPE_CHECKING:
    from crimeface_lib.recognition.candidates import Candidate
    from crimeface_lib.workflow.lineup import OpenedList, Portrait

_ROWS = 10  # of the list of candidates; more scroll
_HIDDEN = "While scores are hidden, the candidates stand in no order. The log keeps when they were shown."


class Comparison:
    """The photos and the scores of an opened list; ``widget`` shows them.

    Parameters
    ----------
    look : returns the reference photo of a candidate, or the reason why there is none.
    shown : called before the scores are first shown; they stay hidden unless it returns True.
    """

    def __init__(self, opened: OpenedList, *, look: Callable[[Candidate], Portrait], shown: Callable[[], bool]) -> None:
        self.opened, self._look, self._shown = opened, look, shown
        self._portraits: dict[str, Portrait] = {}
        self._revealed, self._quiet = False, False
        self._make_widgets()
        self.widget = self._lay_out()
        self._offer()

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that is chosen; None on an empty list."""
        return self._by_record.get(self.chosen.value)

    def _make_widgets(self) -> None:
        self._by_record = {one.record: one for one in self.opened.found.candidates}
        self.photos_first = _tick("Compare the photos first: no scores, no order", value=True)
        self.chosen = widgets.Select(description="Candidates", rows=min(_ROWS, max(2, len(self._by_record))))
        self.chosen.add_class("cf-choose")
        self.view = widgets.ToggleButtons(options=list(VIEWS.items()))
        self.landmarks = _tick("Show the 68 points found")
        self.region = widgets.Dropdown(description="Look at", options=list(REGIONS))
        self.zoom = widgets.FloatSlider(description="Zoom", min=1, max=6, step=0.25, value=1, readout_format=".2f")
        self.blend = widgets.FloatSlider(description="Probe to photo", max=1, step=0.05, value=0.5, readout=False)
        self.flip = widgets.Button(description="Flip")
        self.pair, self.style, self.facts = html(), html(), html()
        self.scores, self.table, self.note = html(), html(css="cf-wide"), html(css="cf-note")
        self.photos_first.observe(self._on_photos_first, "value")
        for part in (self.chosen, self.view, self.landmarks):
            part.observe(lambda _: self._draw(), "value")
        for part in (self.region, self.zoom, self.blend):
            part.observe(lambda _: self._restyle(), "value")
        self.flip.on_click(lambda _: setattr(self.blend, "value", 0.0 if self.blend.value >= 0.5 else 1.0))

    def _lay_out(self) -> widgets.Box:
        found = self.opened.found
        quality = html(quality_html(self.opened.quality))
        probe = html(f"<p>{escape(found.probe_note)}</p>" if found.probe_note else "", css="cf-note")
        caveats = html(f'<div class="cf-cannot"><b>What this list can\'t say</b>{bullets(found.caveats)}</div>')
        self._over, self._dots = row(self.blend, self.flip), row(self.landmarks)
        tools = row(self.region, self.zoom, self._over, self._dots)
        main = column(self.view, self.style, self.pair, tools, self.scores)
        # the choice comes before the photos, for the keyboard and on a phone; on a wide page it stands beside them
        parts = row(column(self.chosen, self.note), main, column(self.facts, quality, probe))
        parts.add_class("cf-compare")
        return column(parts, self.table, caveats)

    def _offer(self) -> None:
        """Offer the candidates: by rank, or, while scores are hidden, in the order of their random records.

        The one that was chosen stays so, and no other is looked at meanwhile: each look is an event of custody.
        """
        listed = list(self._by_record.values())
        if self.photos_first.value:
            options = [(one.subject, one.record) for one in sorted(listed, key=lambda one: one.record)]
        else:
            options = [(f"{one.rank} · {one.subject}", one.record) for one in listed]
        before, self._quiet = self.chosen.value, True
        self.chosen.options = options
        if options:
            self.chosen.value = before or options[0][1]
        self._quiet = False
        self._draw()

    def _on_photos_first(self, change: dict[str, object]) -> None:
        if not change["new"] and not self._revealed:
            self._revealed = self._shown()
        if change["new"] or self._revealed:
            self._offer()
        else:  # what the log doesn't know is not shown
            self.photos_first.value = True

    def _draw(self) -> None:
        if self._quiet:
            return
        hidden, one = self.photos_first.value, self.candidate
        self.note.value = f"<p>{_HIDDEN}</p>" if hidden else ""
        self.table.value = "" if hidden else candidates_table(self.opened.found)
        self._over.layout.display = "" if self.view.value == "over" else "none"
        self._dots.layout.display = "" if self.view.value == "photos" else "none"
        self._restyle()
        if one is None:
            self.pair.value = self.facts.value = self.scores.value = ""
            return
        if one.record not in self._portraits:
            self._portraits[one.record] = self._look(one)
        pair = {"view": self.view.value, "landmarks": self.landmarks.value}
        self.pair.value = pair_html(self.opened.probe, self._portraits[one.record], one.subject, **pair)
        self.facts.value = candidate_facts(one, scores=not hidden)
        self.scores.value = "" if hidden else score_html(self.opened, one)

    def _restyle(self) -> None:
        self.style.value = view_style(zoom=self.zoom.value, region=self.region.value, blend=self.blend.value)


def _tick(label: str, *, value: bool = False) -> widgets.Checkbox:
    return widgets.Checkbox(value=value, description=label, indent=False)
