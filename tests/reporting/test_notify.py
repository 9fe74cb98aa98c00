"""Mail through a real SMTP server on this machine: what is said, how it is protected, what happens when it fails."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crimeface_lib.core.errors import ConfigError, InputError
from crimeface_lib.core.settings import Settings
from crimeface_lib.governance import DifferentialAlert
from crimeface_lib.reporting import NotSentError, candidates_ready, differential_alert, review_due, send_notice

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ALERT = DifferentialAlert(3, "sex & age", "garbe", 0.41, 0.3, 0.5, (0.0, 0.2))
NOTICES = (
    review_due(4, review_by=date(2026, 3, 20), at=AT),
    review_due(4, review_by=date(2026, 2, 20), at=AT),
    candidates_ready("20260301-090000-recognise"),
    differential_alert([ALERT], model="dlib", dataset="lfw"),
)


class Inbox:
    """Keeps what it is given; refuses everything while ``closed``."""

    def __init__(self) -> None:
        self.mail, self.logins, self.closed = [], [], False

    async def handle_DATA(self, server, session, envelope):
        if self.closed:
            return "554 no"
        self.mail.append((message_from_bytes(envelope.content, policy=policy.default), envelope, session.ssl))
        return "250 OK"

    def login(self, server, session, envelope, mechanism, data):
        self.logins.append(data)
        right = data.password == b"open-sesame"
        return AuthResult(success=right, handled=right)


class Server(Controller):
    """aiosmtpd's server on a port that the system chose."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def serve(inbox):
    started = []

    def start(**options):
        server = Server(inbox, hostname="127.0.0.1", port=0, **options)
        server.start()
        started.append(server)
        return server.port

    yield start
    for server in started:
        server.stop(no_assert=True)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that only who is told so trusts."""
    import ipaddress

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return SimpleNamespace(context=context, path=tmp_path / "cert.pem")


def settings(port, **changes):
    plain = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none", "smtp_timeout": 5.0}
    addresses = {"smtp_sender": "crimeface@example.org", "smtp_recipients": "dpo@example.org, lead@example.org"}
    return Settings(_env_file=None, **{**plain, **addresses, **changes})


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.key)
def test_a_notice_arrives_and_holds_ids_only(serve, inbox, notice):
    send_notice(notice, settings=settings(serve()), at=AT)
    ((message, envelope, _),) = inbox.mail
    assert envelope.rcpt_tos == ["dpo@example.org", "lead@example.org"]
    assert message["Subject"] == f"[crimeface] {notice.subject}"
    assert message["Date"].datetime == AT
    body = message.get_content().replace("\r\n", "\n")
    assert notice.body in body
    assert "no personal data" in body
    assert not re.search(r"/|\.jpe?g|\.png", body.replace("crimeface ", "")), "no path, no picture"
    assert "match" not in body


def test_what_could_be_personal_is_refused_at_the_door():
    for canary in ("reports/john doe", "Doe, John", "photo.jpg", "a\nBcc: x@example.org"):
        with pytest.raises(InputError, match="that is no id"):
            candidates_ready(canary)
        with pytest.raises(InputError, match="that is no id"):
            differential_alert([ALERT], model="dlib", dataset=canary)


def test_a_key_tells_an_event_from_another():
    assert len({notice.key for notice in NOTICES}) == len(NOTICES)
    assert review_due(4, review_by=date(2026, 3, 20), at=AT + timedelta(days=3)).key == NOTICES[0].key


def test_starttls_and_login(serve, inbox, certificate):
    port = serve(tls_context=certificate.context, require_starttls=True, authenticator=inbox.login, auth_required=True)
    secure = {"smtp_security": "starttls", "smtp_ca": certificate.path, "smtp_user": "crimeface"}
    send_notice(NOTICES[0], settings=settings(port, **secure, smtp_password="open-sesame"), at=AT)
    assert inbox.mail[0][2] is not None, "the session was encrypted"
    assert inbox.logins[0].login == b"crimeface"
    with pytest.raises(NotSentError, match="SMTPAuthenticationError") as failed:
        send_notice(NOTICES[0], settings=settings(port, **secure, smtp_password="wrong-canary"), at=AT)
    assert "canary" not in f"{failed.value!r} {failed.value.__cause__!r} {settings(port, smtp_password='canary')!r}"
    assert failed.value.__suppress_context__


def test_a_server_that_nobody_vouches_for_gets_nothing(serve, inbox, certificate):
    port = serve(tls_context=certificate.context, require_starttls=True)
    with pytest.raises(NotSentError, match="SSLCertVerificationError"):
        send_notice(NOTICES[0], settings=settings(port, smtp_security="starttls"), at=AT)
    plain = serve()
    with pytest.raises(NotSentError, match="SMTPNotSupportedError"):
        send_notice(NOTICES[0], settings=settings(plain, smtp_security="starttls"), at=AT)
    with pytest.raises(ConfigError, match="expected starttls or ssl"):
        send_notice(NOTICES[0], settings=settings(plain, smtp_user="a", smtp_password="b"), at=AT)
    assert inbox.mail == []


def test_tls_from_the_first_byte(serve, inbox, certificate):
    port = serve(ssl_context=certificate.context)
    send_notice(NOTICES[0], settings=settings(port, smtp_security="ssl", smtp_ca=certificate.path), at=AT)
    assert len(inbox.mail) == 1


def test_refused_unreachable_and_silent_servers_are_told_in_time(serve, inbox):
    import socket

    inbox.closed = True
    with pytest.raises(NotSentError, match="SMTPDataError from 127"):
        send_notice(NOTICES[0], settings=settings(serve()), at=AT)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(NotSentError, match="ConnectionRefusedError"):
            send_notice(NOTICES[0], settings=settings(port), at=AT)
        silent.listen()
        with pytest.raises(NotSentError, match=r"TimeoutError|SMTPServerDisconnected"):
            send_notice(NOTICES[0], settings=settings(port, smtp_timeout=0.2), at=AT)


@pytest.mark.parametrize("wrong", [{"smtp_sender": ""}, {"smtp_recipients": " , "}, {"smtp_sender": "a\nBcc: b@c.d"}])
def test_addresses_are_needed(wrong):
    with pytest.raises(ConfigError, match="mail: "):
        send_notice(NOTICES[0], settings=settings(1, **wrong), at=AT)
