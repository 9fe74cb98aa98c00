"""Who looks at a page: a line to sign in with, and what the account's roles let it see.

The link to the apps opens the server, not an account: several people may use it at once. So nobody is signed in by it,
except on a JupyterHub, where each server is one person's and the Hub says whose. Every use asks for the account as it
is stored now, so a role that was taken away shows at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from crimeface_lib.apps.page import column, html, row, status
from crimeface_lib.core.errors import CrimefaceError, RefusedError
from crimeface_lib.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from crimeface_lib.governance import User
    from crimeface_lib.governance.access import Action
    from crimeface_lib.workflow.store import CaseStore

_LONGEST = 1000  # characters of an account or a password that are looked at
_TOKEN = re.compile(r"\S+\.[0-9a-f]{64}\s*")


class Session:
    """A visitor of a page; ``widget`` is the line at its top.

    Parameters
    ----------
    optional : words of a button that asks for the line, on a page that is of use without; else it is there at once.
    environ : of this process; a JupyterHub says in it whose server this is.

    Attributes
    ----------
    user : the account that is signed in, or None. store : what it looks at; None before anybody signed in.
    demonstration : whether that is the demonstration's store, in which everything is a sample.
    """

    def __init__(
        self, *, optional: str = "", settings: Settings | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.settings = settings or load_settings()
        self.user: User | None = None
        self.store: CaseStore | None = None
        self.demonstration = False
        self._callbacks: list[Callable[[], None]] = []
        self._make_widgets(optional)
        if environ.get("JUPYTERHUB_USER"):
            self._enter(lambda store: store.people.from_jupyterhub(environ), self._folder())
        self._show()

    # -- what apps ask -------------------------------------------------------------------------------------
    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after each signing in and out."""
        self._callbacks.append(callback)

    def may(self, action: Action) -> bool:
        """Say whether somebody is signed in whose account, as it is stored now, permits the action."""
        from crimeface_lib.governance import may

        if self.user is None or self.store is None:
            return False
        try:
            self.user = self.store.people.get(self.user.id)
        except CrimefaceError:  # the account is gone, or is not what the log has: nothing is permitted
            return False
        return may(self.user, action)

    def require(self, action: Action) -> tuple[CaseStore, User]:
        """Return the store and the account, if it may; a refusal stands in the audit log.

        Raises
        ------
        RefusedError : nobody is signed in, or the account's roles don't permit the action.
        """
        if self.user is None or self.store is None:
            raise RefusedError("nobody is signed in; sign in at the top of the page")
        self.user = self.store.people.require(self.store.people.get(self.user.id), action)
        return self.store, self.user

    def sign_in(self, account: str, secret: str) -> None:
        """Sign an account in by its password or token; what is wrong is said on the line."""
        account, secret = account.strip()[:_LONGEST], secret[:_LONGEST]
        if not account or not secret:
            self._say("Fill in your account and its password or token.", "problem")
            return
        self._enter(lambda store: _who(store, account, secret), self._folder())
        self._tell()

    def open_demonstration(self, account: str) -> None:
        """Look at the demonstration as one of its sample accounts; they have no password and exist there alone."""
        self._enter(lambda store: store.people.get(account), self.settings.stores / "demo" / "store")
        self._tell()

    def sign_out(self) -> None:
        """Forget who it was, and the store."""
        self.user = self.store = None
        self.demonstration = False
        self._say("")
        self._tell()

    # -- inside --------------------------------------------------------------------------------------------
    def _folder(self) -> Path:
        from crimeface_lib.workflow.apps_config import load_apps_config

        return load_apps_config(self.settings).store or self.settings.default_store

    def _enter(self, who: Callable[[CaseStore], User], folder: Path) -> None:
        from crimeface_lib.workflow.store import CaseStore

        self._say("")
        try:
            if not (folder / "keys.json").exists():
                raise RefusedError("there are no accounts here yet; an admin adds them: crimeface people add")
            store = CaseStore.open(folder, settings=self.settings)
            self.user = who(store)
            self.store, self.demonstration = store, folder == self.settings.stores / "demo" / "store"
        except CrimefaceError as error:
            self.user = self.store = None
            self._say(f"Not signed in: {error}.", "problem")
        finally:
            self.secret.value = ""

    def _make_widgets(self, optional: str) -> None:
        self.ask = widgets.Button(description=optional)
        self.ask.on_click(lambda _: self._ask())
        self._ask_row = row(*([self.ask] if optional else []))
        self._folded = bool(optional)
        self.account = widgets.Text(placeholder="Account", description="Account")
        self.secret = widgets.Password(placeholder="Password or token", description="Password or token")
        self.go = widgets.Button(description="Sign in", button_style="primary")
        self.go.on_click(lambda _: self.sign_in(self.account.value, self.secret.value))
        self.leave = widgets.Button(description="Sign out")
        self.leave.on_click(lambda _: self.sign_out())
        self.sample = widgets.Dropdown(description="Sample account", options=[])
        self.open_sample = widgets.Button(description="Open the demonstration")
        self.open_sample.on_click(lambda _: self.open_demonstration(self.sample.value))
        self.note, self.name = html(), html()
        self._form = row(self.account, self.secret, self.go)
        self._demo = row(self.sample, self.open_sample)
        self._signed = row(self.name, self.leave)
        self.widget = column(self._ask_row, self._signed, self._form, self._demo, self.note)
        self.widget.add_class("cf-session")

    def _show(self) -> None:
        inside = self.user is not None
        open_line = not inside and not self._folded
        accounts = _demo_accounts(self.settings) if open_line else []
        self.sample.options = accounts
        self.sample.index = 0 if accounts else None  # one that was emptied chooses none by itself
        shown = {self._ask_row: self._folded and not inside, self._signed: inside, self._form: open_line}
        for part, wanted in (*shown.items(), (self._demo, bool(accounts))):
            part.layout.display = "" if wanted else "none"
        if self.user is not None:
            where = "the demonstration, in which everything is a sample" if self.demonstration else "this team's store"
            roles = ", ".join(sorted(self.user.roles)) or "no role"
            self.name.value = f'<p class="cf-who">Signed in as <b>{self.user.id}</b> ({roles}), looking at {where}.</p>'

    def _ask(self) -> None:
        self._folded = False
        self._show()
        self.account.focus()

    def _tell(self) -> None:
        self._show()
        for callback in self._callbacks:
            callback()

    def _say(self, text: str, state: Any = "idle") -> None:
        self.note.value = status(text, state=state) if text else ""


def _who(store: CaseStore, account: str, secret: str) -> User:
    """Return the account whose password, or token, the secret is."""
    if _TOKEN.fullmatch(secret):
        user = store.people.read_token(secret.strip())
        if user.id == account:
            return user
        store.people.refuse(user.id, "login", "not_shown", "this token is another account's")
    return store.people.authenticate(account, secret)


def _demo_accounts(settings: Settings) -> list[tuple[str, str]]:
    """Return the sample accounts, with their roles, where somebody has run ``crimeface demo`` here."""
    from crimeface_lib.workflow.demo import PEOPLE

    if not (settings.stores / "demo" / "store" / "keys.json").exists():
        return []
    return [(f"{user.id} ({', '.join(sorted(user.roles))})", user.id) for user in PEOPLE]
