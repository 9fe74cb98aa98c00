"""One DPIA for its page: whole content, versions, decisions, what ran under it, what it would refuse, paper to file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.errors import MissingBackendError, NotFoundError
from crimeface_lib.governance import Dpia, DpiaRecord, Use, may
from crimeface_lib.governance.register import REVIEW_NOTICE
from crimeface_lib.reporting import find_chromium, publish_dpia
from crimeface_lib.workflow.store import CaseStore

if TYPE_CHECKING:
    import pandas as pd

_DAY = timedelta(days=1)
_OTHER = "something-else"  # an id that no assessment names


@dataclass(frozen=True, slots=True)
class DpiaReview:
    """Everything a reader needs to know of one DPIA at a time; use ``DpiaReview.of``."""

    store: CaseStore
    record: DpiaRecord
    at: datetime

    @classmethod
    def of(cls, store: CaseStore, number: int | None) -> DpiaReview:
        """Return the review of a DPIA, the newest by default.

        Raises
        ------
        NotFoundError : no such DPIA, or none at all. IntegrityError : what is stored is not what was written.
        """
        numbers = [status.id for status in store.dpias.list()]
        if not numbers:
            raise NotFoundError("no DPIA in this store; start one: crimeface dpia new face_search > dpia.yaml")
        return cls(store, store.dpias.record(max(numbers) if number is None else number), store.clock())

    @property
    def content(self) -> Dpia:
        """The last version."""
        return self.record.content

    def status_table(self) -> pd.DataFrame:
        """Return where it stands today: fact, value."""
        import pandas as pd

        status, approval = self.record.status, self.record.approval
        empty = self.content.empty_fields
        rows = [
            ("number and version", f"DPIA {status.id}, version {status.version}"),
            ("state today", status.state.replace("_", " ") + (f": {status.reason}" if status.reason else "")),
            ("written by", ", ".join(dict.fromkeys(version.by for version in self.record.versions))),
            ("approved by", approval.get("by", "nobody")),
            ("holds until", f"{status.review_by}, {(status.review_by - self.at.date()).days} days from today"
             if status.review_by else "no date: it is not approved"),
            ("highest residual risk", self.content.residual),
            ("empty fields", ", ".join(empty) or "none"),
            ("stored as written", "yes" if status.intact else "NO: it was altered and permits nothing"),
            ("demonstration", "yes: it can cover sample data only" if self.content.demonstration else "no"),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["fact", "value"])

    def version_table(self) -> pd.DataFrame:
        """Return a row a version: who wrote it when, and how many fields it changed."""
        import pandas as pd

        diffs = {diff.after: len(diff.changes) for diff in self._diffs()}
        rows = [
            (v.version, v.by, _time(v.at), diffs.get(v.version, "first draft"), v.content_hash[:23])
            for v in self.record.versions
        ]
        return pd.DataFrame(rows, columns=["version", "written by", "on (UTC)", "fields changed", "content hash"])

    def change_table(self) -> pd.DataFrame:
        """Return a row a field that a version changed: version, field, before, after."""
        import pandas as pd

        rows = [
            (diff.after, field.replace(".", " › ").replace("_", " "), _said(before), _said(after))
            for diff in self._diffs()
            for field, (before, after) in diff.changes.items()
        ]
        return pd.DataFrame(rows, columns=["version", "field", "before", "after"])

    def step_table(self) -> pd.DataFrame:
        """Return every step, oldest first, and what the clock will do: time, event, actor, reason.

        The register keeps the words of the last advice, approval and rejection; the log keeps that there were earlier.
        """
        import pandas as pd

        record, status = self.record, self.record.status
        advice, approval = record.advice, record.approval
        words = {
            "advised": f"{'favourable' if advice['favourable'] else 'against'}: {advice['text']}" if advice else "",
            "approved": f"against the advice: {approval['overruled']}" if approval and approval["overruled"] else "",
        }
        words |= {status.state: status.reason} if status.reason else {}
        last = {step["step"]: place for place, step in enumerate(record.steps)}
        rows = [
            (from_iso(s["at"]), s["step"], s["by"], words.get(s["step"], "") if last[s["step"]] == place else "")
            for place, s in enumerate(record.steps)
        ]
        if status.review_by and status.state in ("approved", "review_due", "expired"):
            end = from_iso(f"{status.review_by}T00:00:00Z")
            due = max(end - REVIEW_NOTICE, status.approved_at or end)
            rows += [(due, "review due", "the clock", f"its last {REVIEW_NOTICE.days} days")]
            rows += [(end + _DAY, "expired", "the clock", "permits nothing from here on")]
        return pd.DataFrame(sorted(rows, key=lambda row: row[0]), columns=["time", "event", "actor", "reason"])

    def use_table(self) -> pd.DataFrame:
        """Return what was permitted and refused under it so far: what, by, outcome, times, first, last."""
        import pandas as pd

        found = []
        for name, outcome in (("policy.granted", "permitted"), ("policy.refused", "refused")):
            for e in self.store.audit.search(name, dpia=self.record.status.id):
                what = f"{e.facts['kind'].replace('_', ' ')} on {e.facts['dataset']}"
                reason = f": {e.facts['reason'].replace('_', ' ').replace(':', ' in ')}" if "reason" in e.facts else ""
                found.append((what, e.actor, outcome + reason, e.at))
        frame = pd.DataFrame(found, columns=["what", "by", "outcome", "at"])
        if frame.empty:
            return frame.drop(columns="at")
        grouped = frame.groupby(["what", "by", "outcome"], sort=False)["at"]
        return grouped.agg(times="size", first="min", last="max").reset_index()

    def refusal_table(self, *, actor: str) -> pd.DataFrame:
        """Return what the gate would say now to uses that differ from what is covered in one thing each.

        The gate itself is asked, without a trace in the log.

        Parameters
        ----------
        actor : account that is asked for; where it may not act, an account that may is asked for besides.
        """
        import pandas as pd

        rows = [(what, (why := self._foresee(use)) == "", why or "permitted") for what, use in self._uses(actor)]
        if review_by := self.record.status.review_by:
            later = self.store.dpias.status(self.record.status.id, at=from_iso(f"{review_by}T00:00:00Z") + _DAY)
            rows.append((f"the day after {review_by}", False, f"it will be {later.state} then"))
        return pd.DataFrame(rows, columns=["a run that asks for", "permitted", "the gate says"])

    def in_words(self) -> tuple[str, ...]:
        """Return what the report's first block says was found."""
        status, empty = self.record.status, self.content.empty_fields
        state = status.state.replace("_", " ")
        holds = status.state in ("approved", "review_due")
        scope = self.content.scope
        return (
            f"DPIA {status.id}, {self.content.title or 'without a title'}, is {state}"
            + (f" and holds until {status.review_by}." if holds else ": it permits nothing."),
            f"It covers {scope.kind.replace('_', ' ')} for {scope.purpose} on {', '.join(scope.datasets)}; "
            f"highest residual risk: {self.content.residual}.",
            f"{len(empty)} fields are empty: {', '.join(empty)}." if empty else "No field is empty.",
        )

    def cannot_say(self) -> tuple[str, ...]:
        """Return what a reader has to know besides."""
        sample = (
            ("Anything about real data: this assessment is a demonstration.",) if self.content.demonstration else ()
        )
        return (*sample, *filter(None, [self.paper_missing]))

    @property
    def paper_missing(self) -> str:
        """Why there will be no PDF among the exported pages; empty if there will be one."""
        try:
            find_chromium(self.store.settings.chromium)
        except MissingBackendError as error:
            return f"There is no PDF of the assessment: {error}"
        return ""

    def export(self, path: Path) -> list[Path]:
        """Write the assessment as HTML, and beside it as PDF where there is a browser; return what was written."""
        diff = self.store.dpias.diff(self.record.status.id)
        targets = [path.with_suffix(suffix) for suffix in ((".html",) if self.paper_missing else (".html", ".pdf"))]
        with ThreadPoolExecutor(max_workers=1) as pool:  # a notebook's own thread has a loop that a browser can't share
            for target in targets:
                options: Any = {"diff": diff, "at": self.at, "chromium": self.store.settings.chromium}
                pool.submit(publish_dpia, self.record, target, **options).result()
        return targets

    def _diffs(self) -> list[Any]:
        count = len(self.record.versions)
        return [self.store.dpias.diff(self.record.status.id, after=number) for number in range(2, count + 1)]

    def _foresee(self, use: Use) -> str:
        return self.store.gate.foresee(use, self.record.status.id)

    def _uses(self, actor: str) -> Iterator[tuple[str, Use]]:
        """Yield a use as covered, and others that differ from it in one thing each."""
        scope = self.content.scope
        allowed = [user.id for user in self.store.people.list() if may(user, scope.kind)]
        asked = next(iter(allowed), actor)
        model = scope.models[0]
        covered = Use(scope.kind, scope.purpose, scope.datasets[0], model.name, model.version, asked)
        yield f"exactly this, by {asked}", covered
        yield "another purpose", replace(covered, purpose=_OTHER)
        yield "other data", replace(covered, dataset=_OTHER)
        yield "another model", replace(covered, model=_OTHER)
        yield "another version of the model", replace(covered, model_version=_OTHER)
        if self.content.faces:
            yield "a threshold of its own", replace(covered, threshold=self.content.faces.threshold + 0.1)
        other: Any = "place_prediction" if scope.kind == "face_search" else "face_search"
        yield f"a {other.replace('_', ' ')} instead", replace(covered, kind=other)
        denied = [user.id for user in self.store.people.list() if not may(user, scope.kind)]
        if denied:
            yield f"exactly this, by {denied[0]}", replace(covered, actor=denied[0])


def _time(text: str) -> str:
    return f"{from_iso(text):%Y-%m-%d %H:%M}"


def _said(value: Any) -> str:
    return "not there" if value is None else "(empty)" if value == "" else str(value)
