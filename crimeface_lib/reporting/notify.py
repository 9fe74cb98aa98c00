"""Mail to the people in charge: a review is due, a candidate list is ready, a differential left its band.

Off until ``CRIMEFACE_SMTP_HOST`` is set. A message holds ids, dates and measures and nothing about a person: whoever
reads it opens the store or the report to see more. Mail passes through machines that nobody here controls.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from crimeface_lib.core.errors import ConfigError, CrimefaceError
from crimeface_lib.core.results import Result
from crimeface_lib.core.settings import Settings
from crimeface_lib.governance import DifferentialAlert
from crimeface_lib.governance.audit import check_id

_FOOT = "This message holds no personal data. Don't answer it with any."


@dataclass(frozen=True, slots=True)
class Notice(Result):
    """A message: what it is about, and its words. Make one with the functions below, which let only ids in.

    ``key`` says which event it tells of, so that it is told once.
    """

    key: str
    subject: str
    body: str


def review_due(dpia: int, *, review_by: date, at: datetime) -> Notice:
    """Return the notice that an approval ends soon, or has ended."""
    ended = at.date() > review_by
    said = f"ended on {review_by}" if ended else f"holds until {review_by}"
    state = "expired" if ended else "due"
    return Notice(
        f"review.{state}.{dpia}.{review_by}",
        f"DPIA {dpia}: {'approval ended' if ended else 'review due'}",
        f"The approval of DPIA {dpia} {said}. Searches and forecasts that rest on it are refused after that day.\n"
        "See: crimeface dpia list",
    )


def candidates_ready(run: str) -> Notice:
    """Return the notice that a candidate list waits for its two reviewers."""
    check_id(run, name="run")
    return Notice(
        f"candidates.{run}",
        "A candidate list is ready for review",
        f"Run {run} is finished. Two people decide independently of each other; a candidate is no identification.\n"
        "The report is in the folder of reports.",
    )


def differential_alert(alerts: Sequence[DifferentialAlert], *, model: str, dataset: str) -> Notice:
    """Return the notice that measures of a bias report are outside the approved band; all of one report."""
    about = f"{check_id(model)} on {check_id(dataset)}"
    lines = "\n".join(f"- {alert.in_words()}" for alert in alerts)
    return Notice(
        f"differential.{alerts[0].report}",
        f"Differential outside its approved band: {about}",
        f"Bias report {alerts[0].report}, {about}:\n{lines}\nSee: crimeface bias summary",
    )


def send_notice(notice: Notice, *, settings: Settings, at: datetime) -> None:
    """Send a notice to the recipients of the settings.

    Raises
    ------
    ConfigError : no recipients or sender, or a password without encryption.
    NotSentError : the server can't be reached, is not who it says, or refuses; the message names no secret.
    """
    message = _compose(notice, settings, at=at)
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    if password and settings.smtp_security == "none":
        raise ConfigError("CRIMEFACE_SMTP_SECURITY: got none with a password, expected starttls or ssl")
    try:
        with _connect(settings) as server:
            if settings.smtp_user and password:
                server.login(settings.smtp_user, password)
            refused = server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:  # an SMTP error may quote what was said, the login included
        raise NotSentError(
            f"mail not sent: {type(error).__name__} from {settings.smtp_host}:{_port(settings)}; "
            "check CRIMEFACE_SMTP_* and the server"
        ) from None
    if refused:
        raise NotSentError(f"mail not sent to {len(refused)} of {len(message['To'].addresses)} recipients")


class NotSentError(CrimefaceError):
    """A notice could not be sent."""


def _compose(notice: Notice, settings: Settings, *, at: datetime) -> EmailMessage:
    recipients = [part.strip() for part in settings.smtp_recipients.split(",") if part.strip()]
    if not recipients or not settings.smtp_sender:
        raise ConfigError("mail: set CRIMEFACE_SMTP_SENDER and CRIMEFACE_SMTP_RECIPIENTS (addresses, by commas)")
    message = EmailMessage()
    try:
        message["Subject"], message["From"] = f"[crimeface] {notice.subject}", settings.smtp_sender
        message["To"] = ", ".join(recipients)
    except ValueError as error:
        raise ConfigError(f"mail: a sender or recipient that is no address ({error})") from error
    message["Date"], message["Message-ID"] = format_datetime(at), make_msgid(domain="crimeface.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notice.body}\n\n{_FOOT}\n")
    return message


def _connect(settings: Settings) -> smtplib.SMTP:
    host, port, patience = settings.smtp_host or "", _port(settings), settings.smtp_timeout
    if settings.smtp_security == "none":
        return smtplib.SMTP(host, port, timeout=patience)
    context = ssl.create_default_context(cafile=settings.smtp_ca)
    if settings.smtp_security == "ssl":
        return smtplib.SMTP_SSL(host, port, timeout=patience, context=context)
    server = smtplib.SMTP(host, port, timeout=patience)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _port(settings: Settings) -> int:
    return settings.smtp_port or {"starttls": 587, "ssl": 465, "none": 25}[settings.smtp_security]
