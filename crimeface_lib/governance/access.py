"""Who may do what: accounts, the people behind them, roles, passwords and tokens.

A person may hold several accounts; rules about two different people compare persons, not accounts, so an
alias or a change of role gets round nothing. Governance in a Python process is procedural, not a wall: whoever can
write the store can change it, and the audit log on the ledger is what makes that visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NoReturn, TypeAlias, get_args

from crimeface_lib.core.clock import Clock, from_iso, to_iso
from crimeface_lib.core.errors import InputError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.governance.audit import AuditLog, Fact, LoggedAccounts, check_id
from crimeface_lib.governance.credentials import COST, hash_password, make_token, open_token, verify_password
from crimeface_lib.governance.hub import ask_hub, check_hub_url
from crimeface_lib.storage.documents import DocumentStore

Role: TypeAlias = Literal["researcher", "reviewer", "approver", "custodian", "stakeholder", "admin"]
Action: TypeAlias = Literal[
    "read_reports", "read_audit", "draft_dpia", "withdraw_dpia", "advise_dpia", "approve_dpia",
    "face_search", "place_prediction", "geographic_profile", "decide_candidates", "keep_evidence", "manage_people",
    "ask_approval", "give_approval",
]  # fmt: skip

#: What each role may do; an action that stands nowhere is refused to everyone.
PERMITTED: Mapping[Role, frozenset[Action]] = {
    "researcher": frozenset({
        "read_reports", "draft_dpia", "withdraw_dpia", "face_search", "place_prediction", "geographic_profile",
        "ask_approval",
    }),
    "reviewer": frozenset({"read_reports", "read_audit", "decide_candidates"}),
    "approver": frozenset(
        {"read_reports", "read_audit", "withdraw_dpia", "advise_dpia", "approve_dpia", "give_approval"}
    ),
    "custodian": frozenset({"read_reports", "read_audit", "keep_evidence", "ask_approval"}),
    "stakeholder": frozenset({"read_reports"}),
    "admin": frozenset({"read_audit", "manage_people"}),
}  # fmt: skip

_TABLE, _LOGINS, _HUB = "people", "logins", "hub"
#: One answer to an unknown account, a wrong password and a locked account: it says nothing about which there are.
_NO_LOGIN = "unknown account or wrong password, or locked for {minutes:.0f} minutes after {attempts} failures"


@dataclass(frozen=True, slots=True)
class User(Result):
    """An account and the person behind it; ids only, never a name.

    Parameters
    ----------
    id : of the account.
    roles : researcher, reviewer, approver (the DPO), custodian, stakeholder, admin.
    person : id of the person; the account's id by default. Two accounts of one person share it.
    """

    id: str
    roles: frozenset[Role] = frozenset()
    person: str = ""

    def __post_init__(self) -> None:
        check_id(self.id, name="user id")
        object.__setattr__(self, "person", check_id(self.person or self.id, name="person"))
        object.__setattr__(self, "roles", _check_roles(self.roles))

    def to_dict(self) -> dict[str, Any]:
        """Return id, person and the sorted roles."""
        return {"id": self.id, "person": self.person, "roles": sorted(self.roles)}


def may(user: User, action: Action) -> bool:
    """Say whether one of the user's roles permits the action.

    >>> may(User("u1", frozenset({"stakeholder"})), "face_search")
    False
    """
    return any(action in PERMITTED[role] for role in user.roles)


class People:
    """The accounts in a document store.

    Use ``People.open``; every method that changes or refuses something writes an audit event.
    """

    def __init__(
        self, store: DocumentStore, *, audit: AuditLog, clock: Clock, key: bytes | None, cost: int,
        attempts: int, lock_for: timedelta,
    ) -> None:  # fmt: skip
        self._store, self._audit, self._clock, self._logged = store, audit, clock, LoggedAccounts(audit)
        self._key, self._cost, self._attempts, self._lock_for = key, cost, attempts, lock_for

    @classmethod
    def open(
        cls,
        store: DocumentStore,
        *,
        audit: AuditLog,
        clock: Clock,
        key: bytes | None = None,
        cost: int = COST,
        attempts: int = 5,
        lock_for: timedelta = timedelta(minutes=15),
    ) -> People:
        """Return the accounts kept in ``store``.

        Parameters
        ----------
        key : 32 bytes that sign tokens, from ``KeyRing.derive("access-token")``; without it there are none.
        cost : scrypt's N for new passwords (r = 8, p = 1): 2**15 takes 32 MiB and about 0.1 s.
        attempts, lock_for : after so many failures in a row an account is locked for so long.
        """
        return cls(store, audit=audit, clock=clock, key=key, cost=cost, attempts=attempts, lock_for=lock_for)

    # -- accounts ------------------------------------------------------------------------------------------
    def add(self, user: User, *, password: str | None = None, by: User | None = None) -> User:
        """Add an account. The first must be an admin's; every later one needs ``by``, an admin.

        Parameters
        ----------
        password : at least 12 characters; without one the account has no login here (JupyterHub's instead).

        Raises
        ------
        InputError : the id is taken, or the password is too short.
        RefusedError : ``by`` is no admin, or would add an account of their own.
        """
        secret = {} if password is None else hash_password(password, cost=self._cost)
        with self._store.transaction():
            records = self._store.find(_TABLE)
            if records:
                self._check_manager(by, user)
            elif "admin" not in user.roles:
                message = f"the first account must be an admin's, got roles {_listed(user.roles)}"
                self.refuse(user.id, "manage_people", "first_account", message)
            if self._store.find(_TABLE, user=user.id):
                raise InputError(f"account {user.id!r} exists; change it with set_roles")
            self._logged.check_new(user.id, user.person, records)
            record = {"user": user.id, "person": user.person, "roles": sorted(user.roles)}
            self._store.insert(_TABLE, {**record, **secret, "epoch": 0})
            actor = by.id if by else user.id
            self._record("people.added", actor, account=user.id, person=user.person, roles=sorted(user.roles))
        return user

    def set_roles(self, user_id: str, roles: Iterable[Role], *, by: User) -> User:
        """Replace the roles of an account (none at all closes it). Nobody changes their own; its tokens end.

        Raises
        ------
        RefusedError : ``by`` is no admin, or is the same person.
        """
        with self._store.transaction():
            record = self._find(user_id, logged=False)
            changed = User(user_id, _check_roles(roles), self._logged.person(user_id))
            self._check_manager(by, changed)
            new = {"roles": sorted(changed.roles), "person": changed.person, "epoch": _epoch(record) + 1}
            self._store.update(_TABLE, record["id"], new)
            self._record("people.roles_set", by.id, account=user_id, roles=sorted(changed.roles))
        return changed

    def set_password(self, user_id: str, password: str, *, by: User, old: str = "") -> User:
        """Replace the password of an account; all its tokens end, and a lock is lifted.

        Parameters
        ----------
        by : the account itself, with its ``old`` password where it has one; or an admin who is another person. The
            audit log says which: whoever sets a password can log in with it.

        Raises
        ------
        RefusedError : the old password is wrong, or ``by`` is neither. InputError : too short.
        """
        secret = hash_password(password, cost=self._cost)
        if by.id == user_id:
            self._stored(by, "login")
            if "scrypt" in self._find(user_id):
                self.authenticate(user_id, old)
        with self._store.transaction():
            record = self._find(user_id)
            if by.id != user_id:
                self._check_manager(by, User(user_id, frozenset(record["roles"]), record["person"]))
            self._store.update(_TABLE, record["id"], {**secret, "epoch": _epoch(record) + 1})
            self._count(user_id, 0, None)
            self._record("people.password_set", by.id, account=user_id)
        return self.get(user_id)

    def end_tokens(self, user_id: str, *, by: User) -> None:
        """End every token of an account: of one's own, or, for an admin, of another person's."""
        with self._store.transaction():
            record = self._find(user_id)
            if by.id != user_id:
                self._check_manager(by, User(user_id, frozenset(record["roles"]), record["person"]))
            self._stored(by, "login")
            self._store.update(_TABLE, record["id"], {"epoch": _epoch(record) + 1})
            self._record("people.tokens_ended", by.id, account=user_id)

    def get(self, user_id: str) -> User:
        """Return the account as it is stored now.

        Raises
        ------
        NotFoundError : there is none. IntegrityError : it is not what the audit log has.
        """
        record = self._find(user_id)
        return User(record["user"], frozenset(record["roles"]), record["person"])

    def list(self) -> tuple[User, ...]:
        """Return all accounts."""
        records = map(self._logged.check, self._store.find(_TABLE))
        return tuple(User(r["user"], frozenset(r["roles"]), r["person"]) for r in records)

    # -- who it is -----------------------------------------------------------------------------------------
    def authenticate(self, user_id: str, password: str) -> User:
        """Return the account if the password is right.

        Unknown and known accounts get the same answer after the same work: one scrypt, one write, one event.

        Raises
        ------
        RefusedError : unknown account, wrong password or locked; the message doesn't say which.
        """
        now = self._clock()
        with self._store.transaction():
            record = next(iter(self._store.find(_TABLE, user=user_id)), None)
            right = verify_password(password, record if record and "scrypt" in record else None, cost=self._cost)
            # What was typed as an id may be a password: unknown ones are never written, and share one counter.
            counter = user_id if record else ""
            login: dict[str, Any] = next(iter(self._store.find(_LOGINS, user=counter)), {})
            failures, until = login.get("failures", 0), login.get("locked_until")
            locked = until is not None and now < from_iso(until)
            if not locked:
                failures, until = (0, None) if right else (failures + 1, None)
                if failures >= self._attempts:
                    failures, until = 0, to_iso(now + self._lock_for)
            self._count(counter, failures, until)
        if locked or record is None or not right:
            said = _NO_LOGIN.format(minutes=self._lock_for.total_seconds() / 60, attempts=self._attempts)
            self.refuse(user_id if record else "unknown", "login", "locked" if locked else "credentials", said)
        self._record("access.login", user_id)
        return self.get(user_id)

    def trust_hub(self, url: str, *, by: User) -> None:
        """Name the JupyterHub whose word on who is logged in counts here; an admin does, once.

        Parameters
        ----------
        url : of its API, as ``JUPYTERHUB_API_URL`` names it in a server that it started.
        """
        url = check_hub_url(url)
        self.require(by, "manage_people")
        with self._store.transaction():
            for record in self._store.find(_HUB):
                self._store.delete(_HUB, record["id"])
            self._store.insert(_HUB, {"url": url})
            self._record("people.hub_trusted", by.id, url_sha256=sha256_bytes(url.encode()))

    def from_jupyterhub(self, environment: Mapping[str, str], *, ask: Callable[[str, str], str] = ask_hub) -> User:
        """Return the account that JupyterHub says is logged in.

        Variables are only words: anybody can set ``JUPYTERHUB_USER``. What counts is the server's own token, and what
        the Hub that an admin named with ``trust_hub`` says of it. Its user's name is the account's id.

        Parameters
        ----------
        environment : the kernel's environment, given by the outermost layer; ``JUPYTERHUB_API_TOKEN`` is read.
        ask : (address of the API, token) → name of the user.

        Raises
        ------
        RefusedError : no token there, no Hub trusted, the Hub doesn't confirm the token, the user it names differs
            from ``JUPYTERHUB_USER``, or has no account here.
        """
        token = environment.get("JUPYTERHUB_API_TOKEN")
        if not token:
            message = "JUPYTERHUB_API_TOKEN is not set: this is no server of a Hub; log in with a password"
            self.refuse("unknown", "login", "hub", message)
        hub = next(iter(self._store.find(_HUB)), None)
        if hub is None:
            message = "no JupyterHub is trusted here; an admin names it: crimeface people hub URL"
            self.refuse("unknown", "login", "hub_untrusted", message)
        try:
            user_id = ask(hub["url"], token)
        except RefusedError as error:
            self.refuse("unknown", "login", "hub_denied", str(error))
        if environment.get("JUPYTERHUB_USER", user_id) != user_id:
            self.refuse("unknown", "login", "hub_denied", "JUPYTERHUB_USER is not whom the Hub gave this token to")
        return self._known(user_id, "login")

    def issue_token(self, user: User, *, lifetime: timedelta = timedelta(hours=8)) -> str:
        """Return a signed token that stands for ``user`` until it expires; it is stored nowhere.

        It ends sooner with the account's password or roles, or by ``end_tokens``.
        """
        user_id = self._stored(user, "login").id
        epoch = _epoch(self._find(user_id))
        return make_token(user_id, epoch=epoch, expires=self._clock() + lifetime, key=self._token_key())

    def read_token(self, token: str) -> User:
        """Return the account behind a token.

        Raises
        ------
        RefusedError : forged, altered, expired or ended, or the account is gone.
        """
        try:
            user_id, epoch = open_token(token, at=self._clock(), key=self._token_key())
        except RefusedError as error:
            self.refuse("unknown", "login", "token", str(error))
        user = self._known(user_id, "login")
        if _epoch(self._find(user_id)) != epoch:
            message = "this token ended when the account's password or roles changed; log in again"
            self.refuse(user_id, "login", "token_ended", message)
        return user

    # -- what they may do ----------------------------------------------------------------------------------
    def require(self, user: User, action: Action, **facts: Fact) -> User:
        """Return ``user`` if the account, as it is stored now, permits ``action``.

        Raises
        ------
        RefusedError : not permitted, or ``user`` is not what is stored; the refusal is in the audit log.
        """
        stored = self._stored(user, action)
        if not may(stored, action):
            needed = _listed(role for role, actions in PERMITTED.items() if action in actions)
            message = f"{user.id} may not {action}: has roles {_listed(stored.roles)}, needs {needed}"
            self.refuse(user.id, action, "role", message, **facts)
        return stored

    def refuse(self, actor: str, action: str, reason: str, message: str, **facts: Fact) -> NoReturn:
        """Write the refusal to the audit log, then raise it."""
        self._record("access.refused", actor, action=action, reason=reason, **facts)
        raise RefusedError(message)

    def is_sole_admin(self, person: str) -> bool:
        """Say whether ``person`` is the only one with an admin account."""
        return {user.person for user in self.list() if "admin" in user.roles} == {person}

    def _known(self, user_id: str, action: str) -> User:
        try:
            return self.get(user_id)
        except NotFoundError as error:
            self.refuse("unknown", action, "unknown_account", str(error))

    def _stored(self, user: User, action: str) -> User:
        stored = self._known(user.id, action)
        if stored != user:
            message = f"{user.id}: roles or person differ from the stored account; take the user from People.get"
            self.refuse(user.id, action, "altered_account", message)
        return stored

    def _check_manager(self, by: User | None, target: User) -> None:
        if by is None:
            message = "accounts exist already: give by=, an admin who is another person"
            self.refuse("unknown", "manage_people", "no_admin", message)
        if self.require(by, "manage_people").person == target.person:
            self.refuse(by.id, "manage_people", "own_account", f"{by.id} may not give roles to their own person")

    def _count(self, user_id: str, failures: int, locked_until: str | None) -> None:
        """Keep how often in a row a login failed; one write, whether or not there was a counter."""
        count = {"failures": failures, "locked_until": locked_until}
        for record in self._store.find(_LOGINS, user=user_id):
            self._store.update(_LOGINS, record["id"], count)
            return
        self._store.insert(_LOGINS, {"user": user_id, **count})

    def _find(self, user_id: str, *, logged: bool = True) -> dict[str, Any]:
        for record in self._store.find(_TABLE, user=user_id):
            return self._logged.check(record) if logged else record
        raise NotFoundError(f"no account {user_id!r}; an admin adds it: crimeface people add ACCOUNT --role ROLE")

    def _record(self, event: str, actor: str, **facts: Fact) -> None:
        self._audit.record(event, actor=actor, at=self._clock(), **facts)

    def _token_key(self) -> bytes:
        if self._key is None:
            raise InputError("tokens need a key: People.open(..., key=keyring.derive('access-token'))")
        return self._key


def _check_roles(roles: Iterable[Role]) -> frozenset[Role]:
    unknown = sorted(set(roles) - set(get_args(Role)))
    if unknown:
        raise InputError(f"roles: got {', '.join(unknown)}, expected some of {', '.join(get_args(Role))}")
    return frozenset(roles)


def _epoch(record: Mapping[str, Any]) -> int:
    return int(record.get("epoch", 0))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"
