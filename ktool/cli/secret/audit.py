"""The Events that `ktool secret` leaves where a value is shown or unsealed: who did it, and when."""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING

from ktool.api.action import Emit
from ktool.api.obj import Obj, uid
from ktool.api.ref import EVENT, Ref

if TYPE_CHECKING:
    from ktool.registry.client import Client


def record(client: Client, about: Obj, reason: str, message: str) -> None:
    """Leave an Event. It is written before what it tells of is done, so that nothing is done without one."""
    from ktool.registry.events import recorded

    ref = Ref.of(about)
    own = Ref(EVENT, ref.namespace, f"{ref.name[:200]}.{time.time_ns():x}")
    emit = Emit(ref, reason, message, uid=uid(about))
    event = recorded(None, own, emit, api_version=about["apiVersion"], component="ktool-cli", now=time.time())
    client.create(event)


def person() -> str:
    """Who sits here, as the operating system knows them."""
    try:
        return f"{getpass.getuser()} (uid {os.getuid()})"
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
