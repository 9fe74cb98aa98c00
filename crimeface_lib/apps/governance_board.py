"""The governance board: what stands under which approval, what was refused, what needs somebody, and whether it holds.

Who signs in decides what is shown: ``governance_parts.PARTS`` says which part needs which action. A part that an
account may not see is never filled, so nothing of it reaches the page.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from crimeface_lib.apps.governance_bias import BiasTrend
from crimeface_lib.apps.governance_check import IntegrityCheck, last_check
from crimeface_lib.apps.governance_parts import (
    PARTS,
    attention_html,
    effects_html,
    overview,
    tidy,
    tiles_html,
    timeline_html,
    utc,
)
from crimeface_lib.apps.governance_table import PagedTable
from crimeface_lib.apps.page import column, html, row, status
from crimeface_lib.apps.session import Session
from crimeface_lib.core.errors import CrimefaceError

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.governance_review import GovernanceReview
    from crimeface_lib.workflow.store import CaseStore

_PERIODS = {"Last 30 days": 30, "Last 90 days": 90, "Last 365 days": 365, "Everything": 0, "From – to": -1}
_NOBODY = "Sign in to see the board. What it shows depends on the roles of your account."
_NOTHING = "Your account's roles don't permit looking at the board: it needs a stakeholder, a reviewer or another role."
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # what reading a record that somebody edited may raise
_EFFECTS = 20  # changes whose effect is shown
#: Tables of the part about runs: frame of the review → title, column to choose by.
_RUNS = {
    "runs": ("Runs", "status"),
    "approvals": ("Approvals that runs relied on", "allows"),
    "uses": ("Searches and forecasts", "outcome"),
    "reviews": ("Reviews of candidate lists", "state"),
}
_LOOK = (
    "What would go if the schedule were applied now; nothing is deleted here. A hold keeps a thing beyond its period. "
    "Looking at the evidence's periods is itself recorded in the custody log, so it waits for your click."
)


class GovernanceBoard:
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    session : who looks; one that reads this process's environment by default.
    """

    def __init__(self, session: Session | None = None) -> None:
        self.session = session or Session()
        self.review: GovernanceReview | None = None
        self._filled: set[str] = set()
        self._quiet = False
        self._checker: str | None = None  # whose page it is
        self._make_controls()
        self._make_parts()
        self.session.on_change(self.refresh)
        self.widget = column(self.session.widget, self.line, self._inside)
        self.widget.add_class("cf-board")
        self.refresh()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def warm_up(self) -> None:
        """Load in the background what draws figures, so that the first one comes sooner."""
        threading.Thread(target=_draw_nothing, daemon=True).start()

    def sees(self, part: str) -> bool:
        """Say whether the account that is signed in may see a part now."""
        return any(self.session.may(action) for action in PARTS[part].needs)

    def refresh(self, *_: Any) -> None:
        """Read everything anew, as far as the account may see it."""
        self._clear()
        if not self.sees("overview"):
            self.line.value = self._why_nothing()
            return
        self.line.value = status("Reading the records…", state="busy")
        parts = [name for name in PARTS if name != "overview" and self.sees(name)]
        self._offer(parts)
        self._inside.layout.display = ""
        if not self.sees("integrity"):
            self.check.clear()
        self._try(self._read)
        self._show()

    def _try(self, read: Callable[[], None]) -> None:
        """Read something; where that fails say why: whether the store holds can still be checked."""
        try:
            read()
            return
        except CrimefaceError as error:
            why = str(error)
        except _UNREADABLE as error:
            why = f"a record is not in the form that is written here ({type(error).__name__})"
        self.review = None
        self.tiles.value = self.attention.value = ""
        said = tidy(why, self.session.store) if self.session.store else why
        self.line.value = status(f"Nothing can be shown: {said}.", state="problem")
        self._offer(["integrity"] if self.sees("integrity") else [])

    def _why_nothing(self) -> str:
        store, user = self.session.store, self.session.user
        if store is None or user is None:
            return status(_NOBODY)
        try:
            store.people.get(user.id)
        except CrimefaceError as error:  # nobody's roles count while the log that they stand in doesn't hold
            return status(f"Nothing can be shown: {tidy(str(error), store)}.", state="problem")
        return status(_NOTHING)

    def _read(self) -> None:
        from crimeface_lib.workflow.governance_review import review_governance

        store, user = self.session.store, self.session.user
        assert store is not None
        assert user is not None
        since, until = self._chosen_period(store.clock().astimezone(UTC).date())
        self.review = review_governance(store, actor=user.id, since=since, until=until, quick=True)
        self._draw_overview()
        first, last = f"{self.review.since:%Y-%m-%d}", f"{self.review.until:%Y-%m-%d}"
        self.line.value = status(f"{first} to {last}, as of {utc(store.clock())}. All times are UTC.", state="ready")

    def _draw_overview(self) -> None:
        store = self.session.store
        if self.review is None or store is None or not self.sees("overview"):
            return
        now, checked = store.clock(), last_check(store)
        self.tiles.value = tiles_html(overview(self.review, checked=checked, now=now))
        said = [tidy(one, store) for one in (*self.review.attention, *self.review.notes)]
        if checked is not None and checked["result"] != "holds":
            said.insert(0, f"Integrity: the check of {utc(checked['at'])} found something that does not hold.")
        self.attention.value = attention_html(said)

    # -- sections --------------------------------------------------------------------------------------------
    def _offer(self, parts: list[str]) -> None:
        chosen = self.nav.value
        self._quiet = True
        self.nav.options = [(PARTS[name].title, name) for name in parts]
        if parts:
            self.nav.value = chosen if chosen in parts else parts[0]
        self._quiet = False

    def _show(self, *_: Any) -> None:
        """Show the section that is chosen, and fill it if it wasn't since the last reading."""
        name = self.nav.value
        if self._quiet:
            return
        if name is None:
            self.section.children = ()
            return
        if not self.sees(name):  # a role was taken away meanwhile
            self.refresh()
            return
        self.section.children = (self._sections[name],)
        if self.review is not None and name in self._fill and name not in self._filled:
            self._filled.add(name)
            self._try(self._fill[name])
            if self.review is None:  # it failed
                self._show()

    def _read_last(self) -> tuple[CaseStore, GovernanceReview]:
        assert self.session.store is not None
        assert self.review is not None
        return self.session.store, self.review

    def _fill_assessments(self) -> None:
        store, review = self._read_last()
        self.timeline.value = timeline_html(store.dpias.list(), today=store.clock().astimezone(UTC).date())
        counts = review.uses["DPIA"].value_counts()
        used = [int(counts.get(number, 0)) for number in review.dpias["DPIA"]]
        self.assessments.show(review.dpias.assign(**{"uses in the period": used}))

    def _fill_runs(self) -> None:
        _, review = self._read_last()
        for name, table in self.run_tables.items():
            frame = getattr(review, name)
            if name == "runs":
                frame = frame.drop(columns=["found", "purpose"]).assign(seal=[*map(self._seal, frame.itertuples())])
            table.show(_newest_first(frame))
        self._choose_runs()

    def _seal(self, run: Any) -> str:
        """Return a word for a run's seal, from the last check on this page."""
        if self.check.found is None or self.check.at is None or run.started >= self.check.at:
            return "not checked"
        if any(one.what == f"run {run.run}" for one in self.check.found):
            return "DOES NOT HOLD"
        return "holds" if run.status in ("done", "failed", "refused") else "none"

    def _choose_runs(self, *_: Any) -> None:
        self._run_box.children = (self.run_tables[self.which.value].widget,)

    def _fill_bias(self) -> None:
        _, review = self._read_last()
        self.bias.fill(review.bias.rows, withheld=review.bias.withheld)

    def _fill_thresholds(self) -> None:
        store, review = self._read_last()
        self.changes.show(_newest_first(review.changes))
        shown = set(review.changes["change"])
        changes = [one for one in store.changes.list(kind="threshold") if one.id in shown][::-1]
        effects = "".join(effects_html(one) for one in changes[:_EFFECTS])
        more = f'<p class="cf-note">The effects of {len(changes) - _EFFECTS} earlier ones are not shown.</p>'
        self.effects.value = effects + (more if len(changes) > _EFFECTS else "")

    def _fill_refusals(self) -> None:
        _, review = self._read_last()
        self.refusals.show(_newest_first(review.refusals))

    def _look_at_retention(self, *_: Any) -> None:
        from crimeface_lib.workflow.governance_review import review_retention

        try:
            store, user = self.session.require("read_audit")
            frame, note = review_retention(store, actor=user.id)
        except (CrimefaceError, *_UNREADABLE) as error:
            known = (
                str(error) if isinstance(error, CrimefaceError) else f"a record can't be read ({type(error).__name__})"
            )
            said = tidy(known, self.session.store) if self.session.store else known
            self.retention_note.value = status(f"Nothing can be shown: {said}.", state="problem")
            return
        due = int(frame.loc[frame["fate"] == "would go now", "things"].sum())
        said = note or (f"{due} things are past their period and nothing holds them." if due else "Nothing is due.")
        self.retention_note.value = f"<p>{escape(tidy(said, store))}</p>"
        self.retention.show(frame)

    # -- inside ----------------------------------------------------------------------------------------------
    def _on_checked(self) -> None:
        """Show what a check found: on the tiles, and as seals of the runs."""
        self._draw_overview()
        self._filled.discard("runs")
        self._show()

    def _chosen_period(self, today: date) -> tuple[date | None, date | None]:
        days = self.period.value
        if days == -1:
            return self.first.value, self.last.value
        return (today - timedelta(days=days) if days else None), None

    def _make_controls(self) -> None:
        self.period = widgets.Dropdown(description="Period", options=list(_PERIODS.items()), value=90)
        self.first, self.last = widgets.DatePicker(description="From"), widgets.DatePicker(description="To")
        self._dates = row(self.first, self.last)
        self._dates.layout.display = "none"
        self.renew = widgets.Button(description="Refresh")
        self.renew.on_click(self.refresh)
        self.period.observe(self._on_period, "value")
        for part in (self.first, self.last):
            part.observe(self.refresh, "value")
        self.line, self.tiles, self.attention = html(), html(), html()
        self.nav = widgets.ToggleButtons(options=[], description="Section")
        self.nav.add_class("cf-nav")
        self.nav.observe(self._show, "value")
        self.section = column()
        self.section.add_class("cf-section")
        controls = row(self.period, self._dates, self.renew)
        self._inside = column(controls, self.tiles, self.attention, row(self.nav), self.section)

    def _on_period(self, _: Any) -> None:
        own = self.period.value == -1
        self._dates.layout.display = "" if own else "none"
        if own and self.first.value is None and self.session.store is not None:
            today = self.session.store.clock().astimezone(UTC).date()
            self.last.value, self.first.value = today, today - timedelta(days=90)
        self.refresh()

    def _make_parts(self) -> None:
        def table(name: str, part: str, none: str, choose: str = "") -> PagedTable:
            return PagedTable(name, none=none, choose=choose, may=lambda: self.sees(part))

        self.timeline, self.effects, self.retention_note = html(), html(), html()
        self.assessments = table("Assessments", "assessments", "No assessment has been written yet.", "state")
        self.run_tables = {
            name: table(title, "runs", "None in this period.", choose) for name, (title, choose) in _RUNS.items()
        }
        self.which = widgets.Dropdown(description="Show", options=[(title, name) for name, (title, _) in _RUNS.items()])
        self.which.observe(self._choose_runs, "value")
        self._run_box = column()
        self.bias = BiasTrend(self.session, may=lambda: self.sees("bias"))
        self.changes = table("Changes", "thresholds", "Nobody asked for a change, and none was decided.", "state")
        self.refusals = table("Refusals", "refusals", "Nothing was refused in this period.", "reason")
        self.retention = table("Retention", "retention", "Nothing to show.", "fate")
        look = widgets.Button(description="Look at what is due")
        look.on_click(self._look_at_retention)
        self.check = IntegrityCheck(self.session, on_done=self._on_checked)
        self._sections = {
            "assessments": column(self.timeline, self.assessments.widget),
            "runs": column(row(self.which), self._run_box),
            "bias": self.bias.widget,
            "thresholds": column(self.changes.widget, self.effects),
            "refusals": self.refusals.widget,
            "retention": column(html(f"<p>{_LOOK}</p>"), row(look), self.retention_note, self.retention.widget),
            "integrity": self.check.widget,
        }
        self._fill = {  # the others wait for a click
            "assessments": self._fill_assessments, "runs": self._fill_runs, "bias": self._fill_bias,
            "thresholds": self._fill_thresholds, "refusals": self._fill_refusals,
        }  # fmt: skip

    def _clear(self) -> None:
        """Take everything off the page; an integrity check that runs goes on while its account stays."""
        import pandas as pd

        self.review = None
        self._filled.clear()
        self._inside.layout.display = "none"
        self.section.children = ()
        self.tiles.value = self.attention.value = self.timeline.value = self.effects.value = ""
        self.retention_note.value = ""
        for table in (self.assessments, *self.run_tables.values(), self.changes, self.refusals, self.retention):
            table.show(pd.DataFrame())
        self.bias.fill(None)
        user = self.session.user.id if self.session.user else None
        if user != self._checker:
            self.check.clear()
        self._checker = user


def _draw_nothing() -> None:
    from crimeface_lib.reporting.style import figure_png, house_style, new_figure

    with house_style():
        figure = new_figure(height=1.0)
        figure.subplots()
    figure_png(figure)


def _newest_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame by its first time, the last row of equal ones on top, with (UTC) in the names of times."""
    times = [name for name in frame if any(isinstance(value, datetime) for value in frame[name])]
    frame = frame.iloc[::-1]
    frame = frame.sort_values(times[0], ascending=False, kind="stable") if times else frame
    return frame.rename(columns={name: f"{name} (UTC)" for name in times})
