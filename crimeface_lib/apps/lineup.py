"""Candidate review: two people decide on a list, each for themselves, after comparing the photos.

Nothing of a run is shown before a reviewer has signed in whom a review waits for. What is opened stays in the memory
of this process and is gone with the page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import ipywidgets as widgets

from crimeface_lib.apps.lineup_compare import Comparison
from crimeface_lib.apps.lineup_decision import DecisionForm
from crimeface_lib.apps.lineup_parts import decisions_html, reviews_table
from crimeface_lib.apps.page import column, excusing, html, row, status
from crimeface_lib.apps.session import Session

if TYPE_CHECKING:
    from crimeface_lib.governance import Review
    from crimeface_lib.recognition.candidates import Candidate
    from crimeface_lib.workflow.lineup import OpenedList, Portrait

Told = TypeVar("Told")
_SIGN_IN = "Sign in to see which candidate lists wait for you. Nothing of a search is shown before."
_STATES = "Reviewers decide on candidate lists. Your account may see where each review stands, not what is in it."
_NOTHING = "Your account's roles don't let you see reviews. An admin gives roles: crimeface people role."


class Lineup:
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    session : who looks; a new one, with nobody signed in, by default.
    """

    def __init__(self, session: Session | None = None) -> None:
        self.session = session or Session()
        self.opened: OpenedList | None = None
        self.comparison: Comparison | None = None
        self.form: DecisionForm | None = None
        self.status, self.reviews, self.result = html(), html(), html()
        self.which = widgets.Dropdown(description="Review")
        self.open = widgets.Button(description="Open", button_style="primary")
        self.refresh = widgets.Button(description="Look again")
        self.open.on_click(lambda _: self.open_review(self.which.value))
        self.refresh.on_click(lambda _: self.show_reviews())
        self._choice, self._again = row(self.which, self.open), row(self.refresh)
        self._table = column()
        self._desk = column(self.result, self._choice, self.reviews, self._again)
        self.widget = column(self.session.widget, self.status, self._desk, self._table)
        self.widget.add_class("cf-lineup")
        self.session.on_change(self.show_reviews)
        self.show_reviews()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def show_reviews(self) -> None:
        """Close what is open, and show what the account may see of the reviews."""
        self._close()
        self._try(self._list, None)

    def open_review(self, review: int) -> None:
        """Open a review that waits for the account: its list, the photos, and the form to decide on."""
        self._close()
        self._say("Checking the run and its photos…", "busy")
        if not self._try(lambda: self._open(review), False):
            said = self.status.value
            self.show_reviews()
            self.status.value = said

    # -- the list of reviews ---------------------------------------------------------------------------------
    def _list(self) -> None:
        store, user = self.session.store, self.session.user
        if store is None or user is None:
            self._say(_SIGN_IN)
        elif self.session.may("decide_candidates"):
            self._list_for(list(store.reviews.list()))
        elif self.session.may("read_reports"):
            every = list(store.reviews.list())
            self._say(_STATES if every else f"{_STATES} There is none yet.")
            self.reviews.value = reviews_table(every, caption="Reviews") if every else ""
            self._again.layout.display = ""
        else:
            self._say(_NOTHING)

    def _list_for(self, every: list[Review]) -> None:
        store, user = self.session.require("decide_candidates")
        barriers = {one.id: store.reviews.barrier(one.id, by=user) for one in every}
        waiting = [one for one in every if not barriers[one.id]]
        mine = [one for one in every if barriers[one.id] == "decided"]
        others = [one for one in every if barriers[one.id] not in ("", "decided")]
        count = f"{len(waiting)} reviews wait" if len(waiting) != 1 else "One review waits"
        self._say(f"{count} for you." if waiting else "No review waits for you.")
        tables = {"Waiting for you": waiting, "You have decided": mine, "Others decide, or have decided": others}
        self.reviews.value = "".join(
            reviews_table(some, caption=caption, outcome=some is not waiting)
            for caption, some in tables.items()
            if some
        )
        self.result.value = "".join(decisions_html(one) for one in reversed(mine))
        self.which.options = [(f"Review {one.id}, {one.asked_at[:10]}, {one.asked_by}", one.id) for one in waiting]
        self.which.index = 0 if waiting else None  # one that was emptied chooses none by itself
        self._choice.layout.display = "" if waiting else "none"
        self._again.layout.display = ""

    # -- one review ------------------------------------------------------------------------------------------
    def _open(self, review: int) -> bool:
        from crimeface_lib.workflow.lineup import open_list

        store, user = self.session.require("decide_candidates")
        self.opened = open_list(store, review, by=user)
        self.comparison = comparison = Comparison(self.opened, look=self._look, shown=self._log_scores)
        self.form = DecisionForm(candidate=lambda: comparison.candidate, record=self._decide)
        leave = widgets.Button(description="Close without a decision")
        leave.on_click(lambda _: self.show_reviews())
        top = row(comparison.photos_first, leave)
        self._table.children = (top, comparison.widget, self.form.widget)
        one = self.opened.review
        about = f"Review {one.id}: {len(self.opened.found)} candidates of run {one.run}, asked for by {one.asked_by}."
        self._say(f"{about} The run is what was signed.", "ready")
        self._desk.layout.display = "none"
        comparison.chosen.focus()
        return True

    def _look(self, candidate: Candidate) -> Portrait:
        from crimeface_lib.workflow.lineup import Portrait, reference_photo

        def look() -> Portrait:
            assert self.opened is not None
            store, user = self.session.require("decide_candidates")
            return reference_photo(store, self.opened, candidate, by=user)

        return self._try(look, Portrait(why="The photo can't be shown."))

    def _log_scores(self) -> bool:
        """Note in the log that the scores are shown: whether before the decision or not can be told from it."""

        def log() -> bool:
            assert self.opened is not None
            store, user = self.session.require("decide_candidates")
            store.audit.record("review.scores_shown", actor=user.id, at=store.clock(), review=self.opened.review.id)
            return True

        return self._try(log, False)

    def _decide(self, decision: str, candidate: str, reason: str) -> None:
        def record() -> bool:
            assert self.opened is not None
            store, user = self.session.require("decide_candidates")
            number = self.opened.review.id
            done = store.reviews.decide(number, decision, reason=reason, candidate=candidate, by=user)  # type: ignore[arg-type]
            self.show_reviews()
            sealed = f"Review {number}: your decision is sealed, {done.decided} of 2 have decided."
            self._say(sealed if not done.decisions else f"{sealed} Both decisions are shown below.", "ready")
            return True

        form = self.form
        if not self._try(record, False) and form is not None:
            form.said.value = self.status.value  # there, where the eye is

    # -- inside ----------------------------------------------------------------------------------------------
    def _close(self) -> None:
        self.opened = self.comparison = self.form = None
        gone, self._table.children = self._table.children, ()
        for part in gone:
            _close_all(part)
        self.reviews.value = self.result.value = ""
        self._desk.layout.display = ""
        self._choice.layout.display = self._again.layout.display = "none"

    def _try(self, act: Callable[[], Told], failed: Told) -> Told:
        """Return what ``act`` does; where it fails, ``failed``, and why is said."""
        with excusing(lambda text: self._say(text, "problem"), what="the candidate review"):
            return act()
        return failed

    def _say(self, text: str, state: Any = "idle") -> None:
        self.status.value = status(text, state=state)


def _close_all(part: Any) -> None:
    """Take a widget and all that lies in it off the page, photos included."""
    for child in getattr(part, "children", ()):
        _close_all(child)
    if "value" in part.traits() and isinstance(part, widgets.HTML):
        part.value = ""
    part.close()
