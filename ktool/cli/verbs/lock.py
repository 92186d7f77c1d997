"""`ktool lock`: who is the control plane now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from ktool.api.errors import DONE, ApiError, is_not_found
from ktool.api.obj import Obj, epoch, get, put
from ktool.api.ref import LOCK
from ktool.api.units.duration import human
from ktool.cli.plumbing.command import ActingGroup, Verb, examples, session, verbs

if TYPE_CHECKING:
    from ktool.registry.client import Client


app = verbs("Show or break the lock of the control plane.", cls=ActingGroup)

EXAMPLES = """
ktool lock          # who holds it, since when
ktool lock break    # after a crash on another machine, instead of waiting
"""


@app.callback(invoke_without_command=True, epilog=examples(EXAMPLES))
def lock(ctx: typer.Context) -> None:
    """Show or break the lock of the control plane.

    Whoever changes a cluster holds a Lease (kube-system/ktool) while it is at work: a server, or a command. A holder
    that dies loses it by itself after a few seconds.
    """
    if ctx.invoked_subcommand is None:
        with session(ctx, act=False) as opened:
            print(described(_read(opened.client), time.time()))


@app.command("break", cls=Verb, epilog=examples(EXAMPLES))
def break_lock(ctx: typer.Context) -> int:
    """Take the lock from its holder.

    The holder notices and ends, and nodes refuse what it still sends: its fencing token is older than the next one's.
    """
    with session(ctx, act=False) as opened:
        lease = _read(opened.client)
        if lease is None or not get(lease, "spec", "holderIdentity"):
            print("nobody holds the lock")
            return DONE
        opened.client.update(put(lease, "spec", "holderIdentity", ""))
        print(f"the lock was taken from {holder(lease)}")
        return DONE


def _read(client: Client) -> Obj | None:
    try:
        return client.get(LOCK)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise


def described(lease: Obj | None, now: float) -> str:
    """One sentence about the Lease."""
    if lease is None or not get(lease, "spec", "holderIdentity"):
        return "nobody holds the lock"
    spec = lease["spec"]
    since, renewed = epoch(spec.get("acquireTime")), epoch(spec.get("renewTime"))
    silent = now - renewed
    note = ""
    if silent > float(spec.get("leaseDurationSeconds") or 0):
        note = "; it has gone silent, so the next command takes the lock"
    return (
        f"{holder(lease)} holds the lock for {human(now - since)}, renewed {human(silent)} ago"
        f" (token {spec.get('leaseTransitions', 0)}){note}"
    )


def holder(lease: Obj) -> str:
    """The holder as its identity says it: host, process, start time and command."""
    host, pid, _, what = [*str(lease["spec"]["holderIdentity"]).split(" ", 3), "", "", ""][:4]
    return f"`{what}` (pid {pid} on {host})"
