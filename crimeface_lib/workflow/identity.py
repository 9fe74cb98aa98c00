"""Who acts: whom the system or the Hub says is logged in, or an account whose password or token is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crimeface_lib.workflow.origin import login_name

if TYPE_CHECKING:
    from crimeface_lib.governance import User
    from crimeface_lib.workflow.store import CaseStore

PASSWORD, TOKEN = "CRIMEFACE_PASSWORD", "CRIMEFACE_TOKEN"


def identify(store: CaseStore, account: str, *, environ: Mapping[str, str]) -> User:
    """Return the account that acts, once it is shown to be whoever runs this.

    One's own login needs no more: on a Hub the Hub is asked, elsewhere the operating system says it. Any other account
    needs its token in ``CRIMEFACE_TOKEN`` or its password in ``CRIMEFACE_PASSWORD``.

    Parameters
    ----------
    account : id of the account; empty for one's own.

    Raises
    ------
    RefusedError : it is another's and there is no proof, or a wrong one. NotFoundError : one's own doesn't exist.
    """
    login = login_name(environ)
    if account in ("", login):
        return store.people.from_jupyterhub(environ) if environ.get("JUPYTERHUB_USER") else store.people.get(login)
    if token := environ.get(TOKEN):
        user = store.people.read_token(token)
        if user.id == account:
            return user
    if password := environ.get(PASSWORD):
        return store.people.authenticate(account, password)
    message = (
        f"acting as {account!r} needs its password in {PASSWORD} or its token in {TOKEN} "
        f"(crimeface people token --as {account}); your own login is {login!r}"
    )
    store.people.refuse(login, "login", "not_shown", message)
