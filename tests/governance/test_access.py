from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import get_args

import pytest

from crimeface_lib.core.errors import InputError, NotFoundError, RefusedError
from crimeface_lib.governance import PERMITTED, Action, People, Role, User, may
from crimeface_lib.governance.credentials import hash_password

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
    assert {role for role, action in allowed if action in ("face_search", "place_prediction")} == {"researcher"}
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
    assert len(people.list()) == 7


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
    assert messages == {"unknown account or wrong password"}


def test_failures_lock_the_account_for_a_while(office, login):
    for _ in range(2):
        with pytest.raises(RefusedError, match="wrong password"):
            office.people.authenticate(login.id, WRONG)
    office.people.authenticate(login.id, SECRET)  # starts the count again
    for said in ("wrong password", "wrong password", "locked", "locked"):
        with pytest.raises(RefusedError, match=said):
            office.people.authenticate(login.id, WRONG)
    with pytest.raises(RefusedError, match="locked"):
        office.people.authenticate(login.id, SECRET)
    office.clock.pass_days(15 / 24 / 60)
    assert office.people.authenticate(login.id, SECRET) == login


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
    changed = office.people.set_roles(login.id, ["stakeholder"], by=office.admin)
    assert office.people.read_token(token) == changed
    office.clock.pass_days(1 / 24)
    with pytest.raises(RefusedError, match="expired"):
        office.people.read_token(token)


def test_tokens_need_a_key(office):
    keyless = People.open(office.store, audit=office.audit, clock=office.clock)
    with pytest.raises(InputError, match="key="):
        keyless.issue_token(office.dpo)


def test_the_hub_says_who_it_is(office, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", office.dpo.id)  # never read behind the caller's back
    assert office.people.from_jupyterhub({"JUPYTERHUB_USER": office.other.id}) == office.other
    with pytest.raises(RefusedError, match="not set"):
        office.people.from_jupyterhub({})
    with pytest.raises(RefusedError, match="no account"):
        office.people.from_jupyterhub({"JUPYTERHUB_USER": "ghost"})
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
