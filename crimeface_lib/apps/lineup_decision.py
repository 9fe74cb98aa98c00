"""The form on which a reviewer decides: one of three, a reason, and a second look before it is sealed."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from crimeface_lib.apps.lineup_parts import DECISIONS
from crimeface_lib.apps.page import column, html, row, status

if TYPE_CHECKING:
    from crimeface_lib.recognition.candidates import Candidate

_LONGEST = 2000  # characters of a reason: what is sealed has one length up to there
_ABOUT = (
    "Decide by what you see in the photos. Nobody sees your decision before another person has decided too, and it "
    "can't be changed afterwards."
)


class DecisionForm:
    """Radio buttons, a reason, and a confirmation; ``widget`` shows them.

    Parameters
    ----------
    candidate : returns the candidate that is chosen now.
    record : takes the decision, the candidate's record and the reason, once confirmed.
    """

    def __init__(self, *, candidate: Callable[[], Candidate | None], record: Callable[[str, str, str], None]) -> None:
        self._candidate, self._record = candidate, record
        self._asked: tuple[str, str, str] | None = None
        self.decision = widgets.RadioButtons(options=list(DECISIONS.items()), value=None, description="Decision")
        self.reason = widgets.Textarea(
            description="Reason (required)", rows=4, placeholder="What you saw in the photos that led to this"
        )
        self.ask = widgets.Button(description="Record my decision", button_style="primary")
        self.yes = widgets.Button(description="Yes, seal it", button_style="primary")
        self.back = widgets.Button(description="Go back")
        self.said = html()
        self.ask.on_click(lambda _: self._on_ask())
        self.yes.on_click(lambda _: self._on_yes())
        self.back.on_click(lambda _: self._confirm(None))
        self._buttons = row(self.back, self.yes)
        title = html(f"<h2>Your decision</h2><p>{_ABOUT}</p>")
        self.widget = column(title, self.decision, self.reason, row(self.ask), self.said, self._buttons)
        self.widget.add_class("cf-decide")
        self._confirm(None)

    def _on_ask(self) -> None:
        one, reason = self._candidate(), self.reason.value.strip()
        decision = self.decision.value
        if decision is None:
            self._complain("Choose one of the three decisions.")
        elif decision == "follow_up" and one is None:
            self._complain("There is no candidate to follow up.")
        elif not reason:
            self._complain("Write the reason: what you saw in the photos.")
        elif len(reason) > _LONGEST:
            self._complain(f"The reason has {len(reason):,} characters; shorten it to {_LONGEST:,}.")
        else:
            follow = one if decision == "follow_up" else None
            name = f"follow up {follow.subject}" if follow else self.decision.label.lower().partition(":")[0]
            self._confirm((decision, follow.record if follow else "", reason), name)

    def _on_yes(self) -> None:
        if self._asked is not None:
            asked, self._asked = self._asked, None  # a second click records nothing
            self._record(*asked)

    def _confirm(self, asked: tuple[str, str, str] | None, name: str = "") -> None:
        """Ask whether this is the decision, or, with None, let it be written again."""
        self._asked = asked
        for part in (self.decision, self.reason, self.ask):
            part.disabled = asked is not None
        self._buttons.layout.display = "none" if asked is None else ""
        self.said.value = ""
        if asked is not None:
            reason = escape(asked[2])
            self.said.value = (
                f'<div class="cf-status cf-busy" role="status"><span>You decide: <b>{escape(name)}</b>. Your reason: '
                f"“{reason}” It can't be changed afterwards. Is this right?</span></div>"
            )
            self.back.focus()

    def _complain(self, text: str) -> Any:
        self.said.value = status(text, state="problem")
