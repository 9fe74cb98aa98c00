"""One button that checks logs, seals and evidence in the background; it can be stopped, and the log says who did it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from crimeface_lib.apps.governance_parts import tidy, utc
from crimeface_lib.apps.page import State, bullets, column, html, row, status
from crimeface_lib.core.errors import CrimefaceError, IntegrityError
from crimeface_lib.workflow.integrity import Finding, check_store
from crimeface_lib.workflow.seal import read_heads

if TYPE_CHECKING:
    from crimeface_lib.apps.session import Session
    from crimeface_lib.workflow.store import CaseStore

EVENT = "integrity.checked"
_LARGEST = 1_000_000  # bytes of a checkpoint
_PAUSE = 0.1  # seconds between two steps of the bar
_WORDS = {True: "holds", False: "DOES NOT HOLD", None: "not checked"}
_INTRO = (
    "<p>Reads the audit log and the custody log from their first entry, compares them with the checkpoints that runs "
    "left, checks each run's files against its seal, and reads each item of evidence to its end. Nothing is changed; "
    "that you did it stands in the audit log.</p>"
)
_UPLOAD = (
    '<p class="cf-note">Whoever holds the keys could write all of it anew, checkpoints included. Only a '
    "<b>checkpoint.json</b> that was kept somewhere else shows that: choose it before you check.</p>"
)
_CANNOT = (
    "Whether what was recorded is true: only that it is still what was recorded.",
    "What was done outside of this store, or by hand with copies of its files.",
)


_NOBODY = "While the log of the accounts doesn't hold, nobody's roles count: nothing else was checked."


class _StoppedError(Exception):
    """Somebody asked for the end of the check."""


class IntegrityCheck:
    """The part; ``widget`` shows it.

    Parameters
    ----------
    on_done : called from the background when a check has ended.

    Attributes
    ----------
    found, at : what the last whole check on this page found, and when it began; None before.
    thread : of the check that runs, or ran last.
    """

    def __init__(self, session: Session, *, on_done: Callable[[], None]) -> None:
        self._session, self._on_done = session, on_done
        self.found: list[Finding] | None = None
        self.at: datetime | None = None
        self.thread: threading.Thread | None = None
        self._stop: threading.Event | None = None
        self._phase, self._told = "", 0.0
        self.button = widgets.Button(description="Check integrity", button_style="primary")
        self.stop = widgets.Button(description="Stop", disabled=True)
        self.upload = widgets.FileUpload(description="Checkpoint held elsewhere", accept=".json", multiple=False)
        self.upload.add_class("cf-file")
        self.bar = widgets.IntProgress(description="Progress", min=0, max=1)
        self.line, self.count, self.given, self.result = html(), html(css="cf-note"), html(css="cf-note"), html()
        self.button.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self.end())
        self.upload.observe(self._on_upload, "value")
        self._progress = row(self.bar, self.count)
        self.widget = column(
            html(_INTRO), html(_UPLOAD), row(self.upload, self.given), row(self.button, self.stop), self.line,
            self._progress, self.result,
        )  # fmt: skip
        self.clear()

    @property
    def running(self) -> bool:
        """Whether a check is under way."""
        return self.thread is not None and self.thread.is_alive()

    def start(self) -> None:
        """Begin a check in the background; whoever may not is told so, and the refusal is logged."""
        if self.running:
            return
        try:
            held = self._held()
            store, user = self._session.require("read_audit")
        except IntegrityError as error:  # of the log that the roles stand in
            self.line.value = status(f"Something does not hold. First, {error}. {_NOBODY}", state="problem")
            return
        except CrimefaceError as error:
            self.line.value = status(f"Not checked: {error}.", state="problem")
            return
        self._stop = threading.Event()
        self._phase, self.result.value = "", ""
        self._progress.layout.display, self.button.disabled, self.stop.disabled = "", True, False
        self.thread = threading.Thread(target=self._run, args=(store, user.id, held, self._stop), daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Stop the check that runs, at its next step."""
        if self._stop is not None:
            self._stop.set()
            self.stop.disabled = True
            self.line.value = status("Stopping…", state="busy")

    def clear(self) -> None:
        """Stop, and forget what was found: the next visitor is somebody else."""
        if self._stop is not None:
            self._stop.set()
        self._stop = self.found = self.at = None
        self.line.value = self.result.value = self.given.value = self.count.value = ""
        self.upload.value = ()
        self._progress.layout.display, self.button.disabled, self.stop.disabled = "none", False, True

    def _held(self) -> list[tuple[str, bytes]]:
        """Return the checkpoint that was uploaded.

        Raises
        ------
        IntegrityError : it is too large, or none of these logs.
        """
        if not self.upload.value:
            return []
        file = self.upload.value[0]
        if file["size"] > _LARGEST:
            raise IntegrityError(f"the file is larger than {_LARGEST // 1000} kB, so it is no checkpoint")
        data = bytes(file["content"])
        read_heads(data, name="the file")
        return [("the checkpoint held elsewhere", data)]

    def _on_upload(self, _: Any) -> None:
        try:
            self.given.value = "<p>A checkpoint was given; the next check uses it.</p>" if self._held() else ""
        except CrimefaceError as error:
            self.upload.value = ()  # which brings us here again, with nothing to say
            self.given.value = status(f"Not used: {error}.", state="problem")

    # -- in the background -----------------------------------------------------------------------------------
    def _run(self, store: CaseStore, user: str, held: list[tuple[str, bytes]], stop: threading.Event) -> None:
        at = store.clock()
        found: list[Finding] | None = None
        try:
            found = check_store(store, held=held, tell=lambda *told: self._tell(stop, *told))
            result, said = _result(found), ""
        except _StoppedError:
            result, said = "stopped", "Stopped before the end: nothing can be said."
        except (CrimefaceError, OSError) as error:
            result = "broken" if isinstance(error, IntegrityError) else "stopped"
            said = f"The check could not be made to its end: {tidy(str(error), store)}."
        said += _log(store, user, result, found=found, held=len(held))
        if self._stop is not stop:  # signed out meanwhile
            return
        if found is not None:
            self.found, self.at = found, at
        self._show(store, found, result, said, when=f"Checked {utc(at)} by {user}. ")
        self._stop = None
        self._on_done()

    def _tell(self, stop: threading.Event, what: str, done: int, of: int) -> None:
        if stop.is_set():
            raise _StoppedError
        if what != self._phase:
            self._phase = what
            self.line.value = status(f"Checking: {what}…", state="busy")
        elif time.monotonic() - self._told < _PAUSE:
            return
        self._told = time.monotonic()
        self.bar.max, self.bar.value = max(of, 1), done
        self.count.value = f"{escape(what)}: {done} of {of}" if of > 1 else ""

    def _show(self, store: CaseStore, found: list[Finding] | None, result: str, said: str, *, when: str) -> None:
        self._progress.layout.display, self.button.disabled, self.stop.disabled = "none", False, True
        state: State = "ready" if result == "holds" else "problem" if result == "broken" else "idle"
        words = {
            "holds": "Everything that was checked holds. ",
            "partly": "What could be checked holds, not all could. ",
        }
        first = next((one for one in found or () if one.holds is False), None)
        if first is not None:
            words["broken"] = f"Something does not hold. First, {first.what}: {tidy(first.detail, store)}. "
        about = words.get(result, "") + when if found is not None else ""
        self.line.value = status(about + said, state=state)
        self.result.value = _findings_html(found, store) if found is not None else ""


def _result(found: list[Finding]) -> str:
    """Return holds, broken, or partly where something that is always there could not be checked."""
    if any(one.holds is False for one in found):
        return "broken"
    may_lack = ("left with the runs", "held elsewhere", "runs")
    return "holds" if all(one.holds or one.what.endswith(may_lack) for one in found) else "partly"


def last_check(store: CaseStore) -> Mapping[str, Any] | None:
    """Return result ("holds" or "broken"), time and account of the last whole check; None before the first."""
    for event in reversed(store.audit.events(EVENT).events):
        if event.facts["result"] in ("holds", "broken"):
            return {"result": event.facts["result"], "at": event.at, "by": event.actor}
    return None


def _log(store: CaseStore, user: str, result: str, *, found: list[Finding] | None, held: int) -> str:
    """Record the check; return what to say where that fails."""
    broken = sum(one.holds is False for one in found or ())
    try:
        store.audit.record(EVENT, actor=user, at=store.clock(), result=result, broken=broken, held=held)
    except (CrimefaceError, OSError) as error:
        return f" The audit log can't be written to, so this check isn't in it: {tidy(str(error), store)}."
    return ""


def _findings_html(found: list[Finding], store: CaseStore) -> str:
    rows = "".join(
        f'<tr class="cf-found-{"bad" if one.holds is False else "good"}"><td>{escape(one.what)}</td>'
        f"<td>{_WORDS[one.holds]}</td><td>{escape(tidy(one.detail, store))}</td></tr>"
        for one in found
    )
    none_held = (
        ["Whether logs and reports were rewritten together: no checkpoint held elsewhere was given."]
        if any(one.what.endswith("held elsewhere") and one.holds is None for one in found)
        else []
    )
    return (
        '<div class="cf-scroll" role="region" tabindex="0" aria-label="What was checked"><table class="cf-table">'
        '<thead><tr><th scope="col">what</th><th scope="col">result</th><th scope="col">in words</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<div class="cf-cannot"><b>What this can\'t say</b>{bullets([*none_held, *_CANNOT])}</div>'
    )
