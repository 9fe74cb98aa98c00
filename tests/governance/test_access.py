from __future__ import annotations

import base64
import hashlib
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

import pytest

from crimeface_lib.core.errors import InputError, NotFoundError, RefusedError
from crimeface_lib.governance import PERMITTED, Action, People, Role, User, may
from crimeface_lib.governance.credentials import hash_password
from crimeface_lib.governance.dpia import Kind

SECRET = "canary-correct-horse-battery"
WRONG = "canary-wrong-horse-battery"


@pytest.fixture
def login(office):
    return office.people.add(User("analyst-1", frozenset({"researcher"})), password=SECRET, by=office.admin)


def test_roles_permit_what_the_table_says_and_nothing_else():
    assert set(PERMITTED) == set(get_args(Role))
    assert set().union(*PERMITTED.values()) == set(get_args(Action))
    allowed = {(role, action) for role in PERMITTED for action in get_args(Action) if may(User("u", {role}), action)}
    assert {role for role, action in allowed if action == "approve_dpia"} == {"approver"}
    assert {role for role, action in allowed if action in get_args(Kind)} == {"researcher"}
    assert {role for role, action in allowed if action == "manage_people"} == {"admin"}
    assert not any(may(User("u"), action) for action in get_args(Action))


def test_a_user_is_ids_and_roles():
    assert User("u-1").person == "u-1"
    for wrong in ({"id": "Ada Lovelace"}, {"id": "u", "person": "cases/1"}, {"id": "u", "roles": {"root"}}):
        with pytest.raises(InputError):
            User(**wrong)


def test_only_another_admin_gives_roles(office):
    people, mine = office.people, User("second", frozenset({"approver"}), "p-other")
    with pytest.raises(RefusedError, match="give by="):
        people.add(mine)
    with pytest.raises(RefusedError, match="may not manage_people"):
        people.add(mine, by=office.other)
    with pytest.raises(RefusedError, match="own person"):
        people.add(User("second", frozenset({"approver"}), office.admin.person), by=office.admin)
    with pytest.raises(RefusedError, match="own person"):
        people.set_roles(office.admin.id, ["admin", "approver"], by=office.admin)
    with pytest.raises(InputError, match="exists"):
        people.add(office.dpo, by=office.admin)
    assert len(people.list()) == 8


def test_the_first_account_is_an_admin(office, tmp_path):
    from crimeface_lib.storage import TinyDocuments

    empty = People.open(TinyDocuments.open(tmp_path / "empty.json"), audit=office.audit, clock=office.clock)
    with pytest.raises(RefusedError, match="first account"):
        empty.add(User("u", frozenset({"researcher"})))
    assert empty.list() == ()


def test_require_asks_the_store_and_logs_refusals(office):
    assert office.people.require(office.other, "face_search") == office.other
    with pytest.raises(
        RefusedError, match=r"stakeholder-1 may not face_search: has roles stakeholder, needs researcher"
    ):
        office.people.require(office.stakeholder, "face_search", dpia=3)
    with pytest.raises(RefusedError, match="differ from the stored"):
        office.people.require(User("stakeholder-1", frozenset({"researcher"})), "face_search")
    with pytest.raises(RefusedError, match="no account"):
        office.people.require(User("ghost", frozenset({"researcher"})), "face_search")
    assert office.reasons("access.refused") == ["role", "altered_account", "unknown_account"]
    assert next(iter(office.audit.events("access.refused"))).facts["dpia"] == 3


def test_a_password_opens_its_account_only(office, login):
    assert office.people.authenticate("analyst-1", SECRET) == login
    messages = set()
    for user, password in (("analyst-1", WRONG), ("nobody", SECRET), (office.dpo.id, SECRET), (office.dpo.id, "")):
        with pytest.raises(RefusedError) as caught:
            office.people.authenticate(user, password)
        messages.add(str(caught.value))
    assert messages == {"unknown account or wrong password, or locked for 15 minutes after 3 failures"}


def test_a_locked_an_unknown_and_a_known_account_look_the_same(office, login, monkeypatch):
    """No enumeration: the same words, one scrypt, one write of the records and one line of the log each."""
    from crimeface_lib.core import files
    from crimeface_lib.governance import credentials

    for _ in range(3):
        with pytest.raises(RefusedError):
            office.people.authenticate(login.id, WRONG)
        with pytest.raises(RefusedError):
            office.people.authenticate("nobody", WRONG)
    work, real, append = [], credentials._scrypt, office.audit.ledger.append
    costs = lambda *a: work.append(("scrypt", a[2])) or real(*a)  # noqa: E731
    monkeypatch.setattr(credentials, "_scrypt", costs)
    write = files.write_atomic
    monkeypatch.setattr(
        "crimeface_lib.storage.documents.write_atomic", lambda *a, **k: work.append("write") or write(*a, **k)
    )
    monkeypatch.setattr(office.audit.ledger, "append", lambda *a, **k: work.append("log") or append(*a, **k))
    seen = []
    for user in (login.id, office.dpo.id, "nobody", "nobody-else"):
        with pytest.raises(RefusedError) as caught:
            office.people.authenticate(user, WRONG)
        seen.append((str(caught.value), tuple(work)))
        work.clear()
    assert len(set(seen)) == 1
    assert seen[0][1] == (("scrypt", 2**4), "write", "log")


def test_failures_lock_the_account_for_a_while(office, login):
    def fails(password):
        with pytest.raises(RefusedError):
            office.people.authenticate(login.id, password)
        return office.reasons("access.refused")[-1]

    assert [fails(WRONG), fails(WRONG)] == ["credentials"] * 2
    office.people.authenticate(login.id, SECRET)  # starts the count again
    assert [fails(WRONG) for _ in range(4)] == ["credentials"] * 3 + ["locked"]
    assert fails(SECRET) == "locked"
    again = People.open(office.store, audit=office.audit, clock=office.clock, cost=2**4, attempts=3)
    with pytest.raises(RefusedError):  # another process sees the lock
        again.authenticate(login.id, SECRET)
    office.clock.pass_days(14.9 / 24 / 60)
    assert fails(SECRET) == "locked", "tries while locked don't count, and don't make it longer or shorter"
    office.clock.pass_days(0.2 / 24 / 60)
    assert office.people.authenticate(login.id, SECRET) == login


def test_a_lock_hits_one_account(office, login):
    office.people.set_password(office.dpo.id, SECRET, by=office.admin)
    for _ in range(3):
        with pytest.raises(RefusedError):
            office.people.authenticate(login.id, WRONG)
    assert office.people.authenticate(office.dpo.id, SECRET) == office.dpo


def test_a_new_password_needs_the_old_one_or_another_admin(office, login):
    people, new = office.people, "canary-next-horse-battery"
    with pytest.raises(RefusedError):
        people.set_password(login.id, new, by=login, old=WRONG)
    with pytest.raises(RefusedError, match="may not manage_people"):
        people.set_password(login.id, new, by=office.other)
    with pytest.raises(InputError, match="at least 12"):
        people.set_password(login.id, "short", by=login, old=SECRET)
    people.set_password(login.id, new, by=login, old=SECRET)
    assert people.authenticate(login.id, new) == login
    with pytest.raises(RefusedError):
        people.authenticate(login.id, SECRET)
    for _ in range(3):
        with pytest.raises(RefusedError):
            people.authenticate(login.id, WRONG)
    people.set_password(login.id, SECRET, by=office.admin)  # lifts the lock
    assert people.authenticate(login.id, SECRET) == login
    assert [e.actor for e in office.audit.events("people.password_set")] == [login.id, office.admin.id]


def test_scrypt_is_the_published_one():
    """RFC 7914, section 12, the vector with N = 16384, r = 8, p = 1: its first 32 bytes."""
    from crimeface_lib.governance.credentials import _scrypt

    vector = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert _scrypt("pleaseletmein", b"SodiumChloride", 16384).hex() == vector
    with pytest.raises(InputError, match="at least 12"):
        hash_password("short")
    assert hash_password(SECRET, cost=2)["salt"] != hash_password(SECRET, cost=2)["salt"]


def test_a_token_stands_for_the_account_until_it_expires(office, login):
    token = office.people.issue_token(login, lifetime=timedelta(hours=1))
    assert office.people.read_token(token) == login
    body, signature = token.split(".")
    for forged in ("", token[:-1], f"{body}.", f"{body}.{hashlib.sha256(body.encode()).hexdigest()}", f"é.{signature}"):
        with pytest.raises(RefusedError, match="not issued here"):
            office.people.read_token(forged)
    claims = {**json.loads(base64.urlsafe_b64decode(body)), "user": "dpo-1"}
    with pytest.raises(RefusedError, match="not issued here"):
        office.people.read_token(f"{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()}.{signature}")
    office.clock.pass_days(1 / 24)
    with pytest.raises(RefusedError, match="expired"):
        office.people.read_token(token)


@pytest.mark.parametrize("change", ["roles", "password", "ended", "ended by admin"])
def test_a_token_ends_with_roles_and_password(office, login, change):
    token = office.people.issue_token(login)
    if change == "roles":
        office.people.set_roles(login.id, ["stakeholder"], by=office.admin)
    elif change == "password":
        office.people.set_password(login.id, WRONG, by=login, old=SECRET)
    else:
        office.people.end_tokens(login.id, by=login if change == "ended" else office.admin)
    with pytest.raises(RefusedError, match="ended"):
        office.people.read_token(token)
    fresh = office.people.issue_token(office.people.get(login.id))
    assert office.people.read_token(fresh).id == login.id
    with pytest.raises(RefusedError, match="may not manage_people"):
        office.people.end_tokens(login.id, by=office.other)


def test_tokens_need_a_key(office):
    keyless = People.open(office.store, audit=office.audit, clock=office.clock)
    with pytest.raises(InputError, match="key="):
        keyless.issue_token(office.dpo)


@pytest.fixture
def hub():
    """A Hub's ``GET /hub/api/user``: token → user, as JupyterHub 5 answers."""
    known = {"tok-other": {"kind": "user", "name": "other-1"}, "tok-ghost": {"kind": "user", "name": "ghost"},
             "tok-service": {"kind": "service", "name": "other-1"}}  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            user = known.get(self.headers.get("Authorization", "").removeprefix("token "))
            self.send_response(
                302 if self.path == "/away/user" else 200 if user and self.path == "/hub/api/user" else 403
            )
            self.send_header("Location", "/hub/api/user")
            self.end_headers()
            self.wfile.write(json.dumps(user or {"status": 403}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_says_who_it_is(office, hub, monkeypatch):
    people, mine = office.people, {"JUPYTERHUB_API_TOKEN": "tok-other", "JUPYTERHUB_USER": "other-1"}
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "tok-other")  # never read behind the caller's back
    with pytest.raises(RefusedError, match="no JupyterHub is trusted"):
        people.from_jupyterhub(mine)
    with pytest.raises(RefusedError, match="may not manage_people"):
        people.trust_hub(f"{hub}/hub/api", by=office.other)
    people.trust_hub(f"{hub}/hub/api/", by=office.admin)
    assert people.from_jupyterhub(mine) == office.other
    assert people.from_jupyterhub({"JUPYTERHUB_API_TOKEN": "tok-other"}) == office.other
    for environment, said in (
        ({}, "not set"),
        ({"JUPYTERHUB_USER": office.dpo.id}, "not set"),  # set by hand
        ({"JUPYTERHUB_USER": office.dpo.id, "JUPYTERHUB_API_TOKEN": "made-up"}, "did not confirm"),
        ({**mine, "JUPYTERHUB_USER": office.dpo.id}, "not whom the Hub"),
        ({**mine, "JUPYTERHUB_API_TOKEN": "tok-service", "JUPYTERHUB_API_URL": hub}, "names no user"),
        ({"JUPYTERHUB_API_TOKEN": "tok-ghost"}, "no account"),
    ):
        with pytest.raises(RefusedError, match=said):
            people.from_jupyterhub(environment)
    people.trust_hub(f"{hub}/away", by=office.admin)  # what redirects gets no token to carry on
    with pytest.raises(RefusedError, match="did not confirm"):
        people.from_jupyterhub(mine)
    assert "tok-other" not in (office.folder / "audit.jsonl").read_text() + office.records.read_text()


def test_a_hub_that_does_not_answer_is_a_refusal(office):
    office.people.trust_hub("http://127.0.0.1:1/hub/api", by=office.admin)
    with pytest.raises(RefusedError, match="did not confirm"):
        office.people.from_jupyterhub({"JUPYTERHUB_API_TOKEN": "t"})
    for url in ("file:///etc/passwd", "hub:8081", "http://user:secret@hub/api", "http://hub/api?x=1", ""):
        with pytest.raises(InputError, match="hub: got"):
            office.people.trust_hub(url, by=office.admin)
    with pytest.raises(NotFoundError):
        office.people.get("ghost")


def test_secrets_are_in_no_file_and_in_no_repr(office, login, caplog):
    token = office.people.issue_token(login)
    office.people.authenticate(login.id, SECRET)
    for user, password in ((login.id, WRONG), (SECRET, SECRET), (WRONG, token)):
        with pytest.raises(RefusedError) as caught:
            office.people.authenticate(user, password)
        assert SECRET not in str(caught.value)
    with pytest.raises(RefusedError):
        office.people.read_token(token[:-1])
    with pytest.raises(InputError):
        office.audit.record("access.login", actor="a", at=office.clock(), token=token)
    shown = [repr(office.people), repr(login), repr(office.audit.events()), caplog.text]
    files = [path for path in office.folder.rglob("*") if path.is_file()]
    assert {"records.json", "audit.jsonl"} <= {path.name for path in files}
    seen = b"\n".join([*(path.read_bytes() for path in files), *(text.encode() for text in shown)])
    signature = token.partition(".")[2]
    for canary in (SECRET, WRONG, token, token.partition(".")[0], signature):
        for form in (canary.encode(), base64.b64encode(canary.encode()), canary.encode().hex().encode()):
            assert form not in seen
    assert b"k" * 32 not in seen
