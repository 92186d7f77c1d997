"""Image pulls: one pull of an image at a time, with the pod's credentials for its registry. node/podman/performer calls
it.

Credentials travel in a header of the request to Podman, in the form of which Podman makes no file; they are in no
argument and in no auth.json.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager

from ktool.logic.node.nodeaction import Credential, EnsureImage
from ktool.node.podman.podmanapi import PodmanApi, Refused

TIMEOUT = 600.0

_REFUSED = ("unauthorized", "authentication required", "denied", "forbidden", "invalid username/password")


class PullFailed(Exception):
    """A failed pull, with Podman's message."""


def pull(api: PodmanApi, action: EnsureImage) -> None:
    """Pull with each login until one works, or anonymously where there is none. Raises PullFailed."""
    failure = ""
    for login in action.logins or (None,):
        failure = _pull(api, action.image, login)
        if not failure:
            return
    if action.hint and any(words in failure.lower() for words in _REFUSED):
        failure = f"{failure}: {action.hint}"
    raise PullFailed(failure)


def _pull(api: PodmanApi, image: str, login: Credential | None) -> str:
    """Pull once. Returns the error message, "" on success."""
    headers = {} if login is None else {"X-Registry-Auth": _header(login)}
    try:
        answer = api.post(
            "images/pull", deadline=TIMEOUT, headers=headers, reference=image, policy="always", quiet=True
        )
    except Refused as refused:
        return refused.message
    # 4.3.1 says 200 first and puts what went wrong into the body.
    return str(answer.get("error") or "") if isinstance(answer, Mapping) else ""


def _header(login: Credential) -> str:
    """The header for one login (docker's AuthConfig). Not a map of logins: Podman would write that into a file."""
    if login.token is not None:
        entry = {"identitytoken": login.token.reveal().decode("utf-8", "replace")}
    else:
        password = b"" if login.password is None else login.password.reveal()
        entry = {"username": login.username, "password": password.decode("utf-8", "replace")}
    return base64.urlsafe_b64encode(json.dumps(entry).encode()).decode()


class SingleFlight:
    """Deduplication of concurrent pulls of one image with the same logins; waiters learn when the last successful one
    began."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._done: dict[Hashable, float] = {}

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[float]:
        """Hold the lock of a key. Gives the time (monotonic seconds) at which the last successful pull began, or -1."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            yield self._done.get(key, -1.0)

    def done(self, key: Hashable, began: float) -> None:
        self._done[key] = began
