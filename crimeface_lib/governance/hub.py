"""Who a JupyterHub says is logged in: asked of the Hub itself, not of variables that anyone can set."""

from __future__ import annotations

import json
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from crimeface_lib.core.errors import InputError, RefusedError

_SECONDS = 10.0
_LARGEST = 1 << 20


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        """Follow none: the token would travel with it."""


def check_hub_url(url: str) -> str:
    """Return the address of a Hub's API without its last slash.

    Raises
    ------
    InputError : not http or https, without a host, or with a password in it.

    >>> check_hub_url("http://hub:8081/hub/api/")
    'http://hub:8081/hub/api'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise InputError(f"hub: got {url!r}, expected the address of its API such as http://hub:8081/hub/api")
    return url.rstrip("/")


def ask_hub(url: str, token: str) -> str:
    """Return the name of the user whom the Hub at ``url`` gave ``token`` to.

    Raises
    ------
    RefusedError : the Hub doesn't know the token, doesn't answer, or what answers is no Hub.

    References : JupyterHub REST API, ``GET /user``.
    """
    request = Request(f"{check_hub_url(url)}/user", headers={"Authorization": f"token {token}"})
    try:
        with build_opener(_NoRedirect).open(request, timeout=_SECONDS) as answer:
            user = json.loads(answer.read(_LARGEST))
    except (URLError, OSError, ValueError) as error:
        raise RefusedError(f"the Hub did not confirm who this is ({type(error).__name__}); log in again") from error
    if not isinstance(user, dict) or user.get("kind", "user") != "user" or not isinstance(user.get("name"), str):
        raise RefusedError("the Hub's answer names no user; log in again")
    return str(user["name"])
