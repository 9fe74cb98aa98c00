"""Who is told what by mail, once: the events of a store that people wait for.

A mail that can't be sent never stops a run: that is logged, written into the audit log, and said where the run is
said. It is tried again the next time, since nobody has been told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from crimeface_lib.core.errors import CrimefaceError
from crimeface_lib.governance import StoredBiasReport
from crimeface_lib.reporting import Notice, candidates_ready, differential_alert, review_due, send_notice
from crimeface_lib.workflow.store import CaseStore

log = logging.getLogger(__name__)

#: Actor of what nobody in particular does.
_ACTOR = "notices"


def tell(store: CaseStore, notices: Sequence[Notice]) -> list[str]:
    """Send each notice that was not sent before; return a line for each that could not be sent.

    Nothing happens, and nothing is said, while no mail server is set.
    """
    if not store.settings.smtp_host:
        return []
    told = {event.facts["notice"] for event in store.audit.events("notice.sent")}
    failed = []
    for notice in notices:
        if notice.key in told:
            continue
        at = store.clock()
        try:
            send_notice(notice, settings=store.settings, at=at)
        except CrimefaceError as error:
            log.warning("%s", error)
            store.audit.record("notice.failed", actor=_ACTOR, at=at, notice=notice.key, reason=type(error).__name__)
            failed.append(f"{error} ({notice.subject})")
            break  # the next would only wait for the same server
        else:
            store.audit.record("notice.sent", actor=_ACTOR, at=at, notice=notice.key)
    return failed


def tell_of_reviews(store: CaseStore) -> list[str]:
    """Tell of approvals that end soon or have ended."""
    at = store.clock()
    due = [
        review_due(status.id, review_by=status.review_by, at=at)
        for status in store.dpias.list()
        if status.state in ("review_due", "expired") and status.review_by
    ]
    return tell(store, due)


def tell_of_run(store: CaseStore, run: str, steps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tell that a run left a candidate list; one without a candidate is no news."""
    lists = [step["results"].get("list") for step in steps.values()]
    waiting = any(isinstance(found, dict) and found.get("candidates") for found in lists)
    return tell(store, [candidates_ready(run)] if waiting else [])


def tell_of_differentials(store: CaseStore, report: StoredBiasReport) -> list[str]:
    """Tell of measures outside their approved band."""
    if not report.alerts:
        return []
    return tell(store, [differential_alert(report.alerts, model=report.model, dataset=report.dataset)])
