"""What a store and its runs did in a period: under which approval, with which outcome, and what needs somebody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError, NotFoundError
from crimeface_lib.governance import AuditEvent, BiasTable
from crimeface_lib.reporting.bias_figures import MEASURE_NAMES
from crimeface_lib.workflow.integrity import check_logs, check_seal, held_files, missing_run, own_runs, public_key
from crimeface_lib.workflow.retention import plan_retention
from crimeface_lib.workflow.seal import MANIFEST, read_manifest
from crimeface_lib.workflow.store import CaseStore

if TYPE_CHECKING:
    import pandas as pd

_LONG = timedelta(days=7)  # a review open for longer needs somebody
#: Words of the audit log for reasons → what a reader understands.
_REASONS = {
    "none": "no approved DPIA of this kind", "expired": "the DPIA had expired", "withdrawn": "the DPIA was withdrawn",
    "draft": "the DPIA was a draft", "submitted": "the DPIA was not approved yet",
    "changed": "the DPIA was changed since",
    "not_in_log": "the approval is not in the audit log", "own_work": "own work: another person is needed",
    "no_advice": "no advice from the DPO yet", "sole_admin": "the only admin may not approve",
    "high_risk": "high residual risk and no regulator consulted", "role": "no role that permits it",
    "not_reviewed": "two people had not decided", "not_asked": "others were asked", "held": "a hold keeps it",
    "not_shown": "who acts was not shown", "unknown_account": "unknown account", "same_person": "the same person",
    "altered_account": "roles differ from the stored account", "RefusedError": "no model card, or another account",
}  # fmt: skip
#: Facts of a refusal that say what it was about.
_NAMED = ("run", "dpia", "dataset", "model", "review", "change", "hold")
_COLUMNS = {
    "runs": ["run", "started", "notebook", "by", "purpose", "case", "status", "DPIAs", "seal", "found"],
    "approvals": ["run", "DPIA", "allows", "dataset", "model", "review"],
    "uses": ["started", "ended", "by", "DPIA", "outcome", "reviewers"],
    "refusals": ["time", "by", "what", "reason"],
    "changes": ["change", "kind", "what", "state", "asked by", "asked", "reason", "decided by", "answer"],
    "reviews": ["review", "run", "state", "asked by", "asked", "outcome"],
    "dpias": ["DPIA", "title", "kind", "state", "review by", "days left"],
    "retention": ["category", "fate", "things", "next due"],
    "integrity": ["what", "holds", "detail"],
}


@dataclass(frozen=True, slots=True)
class GovernanceReview:
    """One frame for each part of the review; an empty frame says that there was nothing.

    ``attention`` are sentences about what needs somebody; ``notes`` about what could not be looked at.
    """

    since: datetime
    until: datetime
    runs: pd.DataFrame
    approvals: pd.DataFrame
    uses: pd.DataFrame
    refusals: pd.DataFrame
    changes: pd.DataFrame
    reviews: pd.DataFrame
    dpias: pd.DataFrame
    retention: pd.DataFrame
    bias: BiasTable
    integrity: pd.DataFrame
    attention: tuple[str, ...]
    notes: tuple[str, ...]

    def trend(self, store: CaseStore, measure: str) -> pd.DataFrame:
        """Return a measure over all reports on the model and data reported on last; no row if none has it."""
        rows = self.bias.rows[self.bias.rows["measure"] == measure]
        if rows.empty:
            return rows
        last = rows.sort_values("report").iloc[-1]
        about = {name: str(last[name]) for name in ("attribute", "model", "dataset")}
        return store.bias.trend(measure, **about).to_frame()

    def cannot_say(self) -> tuple[str, ...]:
        """Return what a reader has to know besides."""
        held = self.integrity["what"].str.endswith("elsewhere") & self.integrity["holds"].isna()
        none_held = (
            "Whether logs and reports were rewritten together: no checkpoint held elsewhere was given.",
        ) if held.any() else ()  # fmt: skip
        return (
            "What was done outside of this store, or by hand with files of it.",
            "Whether each approval was right: that it was there and covered the use is all that is checked.",
            "Whether contents of evidence are intact: evidence_case.ipynb reads them, this page does not.",
            *none_held,
            *self.notes,
        )

    def found(self) -> tuple[str, ...]:
        """Return what the report's first block says was found."""
        statuses = self.runs["status"].value_counts()
        counted = ", ".join(f"{count} {status}" for status, count in statuses.items()) or "none"
        return (
            f"From {self.since:%Y-%m-%d} to {self.until:%Y-%m-%d} there were {len(self.runs)} runs: {counted}.",
            f"Searches and forecasts under an approval: {len(self.uses)}. Attempts that were refused: "
            f"{len(self.refusals)}.",
            *(self.attention or ("Nothing needs attention.",)),
        )


def review_governance(
    store: CaseStore, *, actor: str, since: date | None = None, until: date | None = None,
    checkpoint: Path | None = None, leave_out: str = "", quick: bool = False,
) -> GovernanceReview:  # fmt: skip
    """Return what happened in a period, both days included.

    Parameters
    ----------
    actor : whose look at the evidence's retention periods is logged.
    checkpoint : a run's ``checkpoint.json`` that was held elsewhere, or a folder of such files.
    leave_out : id of the run that makes this review.
    quick : leave out what takes long or leaves a trace: logs and seals are not checked, retention is not looked at.

    Nothing that doesn't hold stops the review: it is a row of ``integrity`` and a sentence of ``attention``.

    Raises
    ------
    InputError : the period ends before it begins; no such checkpoint.
    """
    now = store.clock()
    start = datetime.combine(since or date(1970, 1, 1), time(), UTC)
    end = datetime.combine((until or now.date()) + timedelta(days=1), time(), UTC)
    if end <= start:
        raise InputError(f"period: got {since} to {until}, expected the first day first")
    events = list(store.audit.search(since=start, until=end))
    if since is None and events:
        start = min(start.replace(year=9999), events[0].at)
    runs, approvals, broken = _runs(store, events, start=start, end=end, leave_out=leave_out, quick=quick)
    notes: list[str] = []
    parts = {
        "runs": runs, "approvals": approvals,
        "uses": _uses(store, events), "refusals": _refusals(events), "changes": _changes(store, start, end),
        "reviews": _reviews(store, start, end), "dpias": _dpias(store), "retention": [], "integrity": broken,
    }  # fmt: skip
    if not quick:
        logs = check_logs(store, held=held_files(checkpoint))
        parts["integrity"] = [*((one.what, one.holds, one.detail) for one in logs), *broken]
    import pandas as pd

    frames = {name: pd.DataFrame(rows, columns=_COLUMNS[name]) for name, rows in parts.items()}
    if not quick:
        frames["retention"], note = review_retention(store, actor=actor)
        notes += [note] if note else []
    bias = _bias(store, notes)
    attention = tuple(_attention(frames, bias, now=now))
    period = start, end - timedelta(days=1)
    return GovernanceReview(*period, **frames, bias=bias, attention=attention, notes=tuple(notes))


def _runs(
    store: CaseStore, events: Sequence[AuditEvent], *, start: datetime, end: datetime, leave_out: str, quick: bool
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return rows of runs, of their permits, and of seals that don't hold.

    A run that the audit log knows and that is no longer there is a row too.
    """
    reports, key = store.settings.reports, public_key(store)
    logged = {e.facts["run"]: e for e in reversed(events) if e.event.startswith(("run.", "step."))}
    reviews = {}
    for review in store.reviews.list():
        reviews[review.run] = f"review {review.id}: {review.state}"
    runs, permits, broken = [], [], []
    for id in sorted({*logged, *own_runs(store)} - {leave_out}):
        if not (reports / id / MANIFEST).exists():
            event, status = logged[id], missing_run(store, id)
            runs.append((id, event.at, event.facts.get("step", "?"), event.actor, "", "", status, "", "", ""))
            continue
        try:
            manifest = read_manifest(reports / id)
            begun = from_iso(manifest["started"])
        except (CrimefaceError, KeyError, TypeError) as error:
            broken.append((f"run {id}", False, str(error)))
            continue
        if not start <= begun < end:
            continue
        seal, reason = ("", "") if quick else check_seal(reports / id, key, status=str(manifest.get("status")))
        if reason:
            broken.append((f"run {id}", False, reason))
        used = manifest.get("permits", [])
        dpias = ", ".join(str(number) for number in sorted({permit["dpia"] for permit in used}))
        about = (manifest.get("actor", ""), manifest.get("purpose", ""), manifest.get("case") or "", manifest["status"])
        runs.append((id, begun, manifest["notebook"], *about, dpias, seal, manifest.get("headline", "")))
        for permit in used:
            use = permit["use"]
            review_state = reviews.get(id, "none needed") if use["kind"] == "face_search" else "none needed"
            model = f"{use['model']} {use['model_version'][:12]}"
            permits.append((id, permit["dpia"], use["kind"].replace("_", " "), use["dataset"], model, review_state))
    return sorted(runs, key=lambda row: row[1]), permits, broken


def _uses(store: CaseStore, events: Sequence[AuditEvent]) -> list[Any]:
    granted = {e.facts["content_hash"]: e.facts["dpia"] for e in store.audit.events("policy.granted")}
    ended = {e.facts["use"]: e for e in store.audit.events("use.ended")}
    rows = []
    for event in events:
        if event.event == "use.started":
            end, reviewers = ended.get(event.index), ", ".join(event.facts.get("reviewers", ())) or "whoever may decide"
            outcome = end.facts["outcome"] if end else "NO END RECORDED"
            dpia = granted.get(event.facts["permit"])
            rows.append((event.at, end.at if end else None, event.actor, dpia, outcome, reviewers))
    return rows


def _refusals(events: Sequence[AuditEvent]) -> list[Any]:
    rows = []
    for event in events:
        if event.event.endswith(".refused"):
            facts = event.facts
            what = facts.get("action") or facts.get("kind") or facts.get("category") or event.event.partition(".")[0]
            named = [f"{word} {facts[word]}" for word in _NAMED if facts.get(word)]
            what = " · ".join([str(what).replace("_", " "), *named]).replace("dpia", "DPIA")
            rows.append((event.at, event.actor, what, _in_words(str(facts.get("reason", "")))))
    return rows


def _in_words(reason: str) -> str:
    if reason.startswith("differs:"):
        return f"the DPIA covers another {reason.removeprefix('differs:').replace('+', ', ').replace('_', ' ')}"
    return _REASONS.get(reason, reason.replace("_", " ") or "not said")


def _changes(store: CaseStore, start: datetime, end: datetime) -> list[Any]:
    rows = []
    for change in store.changes.list():
        times = [from_iso(text) for text in (change.asked_at, change.decided_at) if text]
        if any(start <= at < end for at in times):
            content = change.content
            if change.kind == "threshold":
                what = f"{content['model']}: {content['before']:g} → {content['after']:g}"
            else:
                what = f"{len(content['photos'])} photos on {content['watchlist']}"
            rows.append(
                (change.id, change.kind, what, change.state, change.asked_by, times[0], change.reason,
                 change.decided_by, change.answer)
            )  # fmt: skip
    return rows


def _reviews(store: CaseStore, start: datetime, end: datetime) -> list[Any]:
    """Return reviews asked for in the period, and those still open whenever they were asked for."""
    rows = []
    for review in store.reviews.list():
        asked = from_iso(review.asked_at)
        if asked < end and (asked >= start or not review.decisions):
            rows.append((review.id, review.run, review.state, review.asked_by, asked, review.outcome))
    return rows


def _dpias(store: CaseStore) -> list[Any]:
    today = store.clock().date()
    rows = [
        (d.id, d.title, d.kind.replace("_", " "), d.state.replace("_", " "), str(d.review_by or ""),
         (d.review_by - today).days if d.review_by and d.state in ("approved", "review_due", "expired") else None)
        for d in store.dpias.list()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row[5] is None, row[5] or 0))


def review_retention(store: CaseStore, *, actor: str) -> tuple[pd.DataFrame, str]:
    """Return how many things of each category would go, are held or stay, and why that can't be said.

    No ids, which can hold a reference. The look at the evidence is logged as ``actor``'s.
    """
    import pandas as pd

    rows, note = [], ""
    groups: dict[tuple[str, str], list[datetime | None]] = {}
    words = {"delete": "would go now", "held": "due, and held", "keep": "stays"}
    try:
        for item in plan_retention(store, actor=actor).items:
            groups.setdefault((item.category, words[item.fate]), []).append(item.expires)
    except NotFoundError:
        note = "What is due for deletion: no retention schedule, so nothing ever falls due."
    except InputError as error:
        note = f"What is due for deletion: {error}."
    for (category, fate), ends in sorted(groups.items()):
        known = [end for end in ends if end]
        rows.append((category, fate, len(ends), f"{min(known):%Y-%m-%d}" if known else "undecided"))
    return pd.DataFrame(rows, columns=_COLUMNS["retention"]), note


def _bias(store: CaseStore, notes: list[str]) -> BiasTable:
    import pandas as pd

    try:
        return store.bias.summary()
    except IntegrityError as error:
        notes.append(f"Bias reports: {error}.")
        return BiasTable(pd.DataFrame(columns=["attribute", "measure", "value", "state"]), ())


def _attention(frames: dict[str, pd.DataFrame], bias: BiasTable, *, now: datetime) -> Iterator[str]:
    """Yield a sentence for each thing that needs somebody."""
    for row in frames["integrity"].to_dict("records"):
        if row["holds"] is False:
            yield f"Integrity: {row['what']} does not hold: {row['detail']}."
    gone = frames["runs"].query("status == 'gone'")["run"].tolist()
    if gone:
        yield f"Runs of the audit log that are gone from the reports without an erasure: {', '.join(gone)}."
    unfinished = int((frames["uses"]["outcome"] == "NO END RECORDED").sum())
    if unfinished:
        yield f"Searches or forecasts without a recorded end: {unfinished}."
    for row in frames["dpias"].to_dict("records"):
        if row["state"] in ("review due", "expired"):
            yield f"DPIA {row['DPIA']} is {row['state']}: review by {row['review by']}."
    waiting = frames["reviews"][frames["reviews"]["state"].str.startswith("awaiting")]
    if len(waiting):
        oldest = (now - waiting["asked"].min()).days
        late = ", more than a week" if timedelta(days=oldest) > _LONG else ""
        yield f"Candidate lists that wait for their two reviewers: {len(waiting)}; the oldest {oldest} days{late}."
    asked = frames["changes"].query("state == 'asked'")
    if len(asked):
        yield f"Changes of policy that wait for a decision: {len(asked)}."
    due = frames["retention"].query("fate == 'would go now'")["things"].sum()
    if due:
        yield f"Things past their retention period, which nothing holds: {due}."
    outside = bias.rows[bias.rows["state"] == "outside"] if len(bias.rows) else bias.rows
    for row in outside.to_dict("records"):
        what = f"{MEASURE_NAMES.get(row['measure'], row['measure'])}, by {row['attribute']}, of {row['model']}"
        yield f"Bias report {row['report']}: {what} is outside its approved band ({row['value']:.3g})."
