"""`ktool rollout pause`, `resume` and `restart`."""

from __future__ import annotations

import time
from collections.abc import Callable

import typer

from ktool.api.errors import UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, name, timestamp
from ktool.api.patch import difference, merge
from ktool.api.ref import Ref
from ktool.api.workload import Workload
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.targets import each
from ktool.cli.verbs.get import Query

PAUSE = """
ktool rollout pause deploy/web       # gather several changes, then: ktool rollout resume deploy/web
"""
RESUME = """
ktool rollout resume deploy/web
"""
RESTART = """
ktool rollout restart deploy/web
ktool rollout restart deploy -l tier=front
"""


def pause(ctx: typer.Context, resources: options.Resources = None, selector: options.Selector = "") -> int:
    """Hold a rollout where it is. A changed template starts none until it is resumed; scaling goes on."""

    def one(kind: Kind, obj: Obj) -> str:
        if _paused(obj):
            raise UserError(f'{kind.resource} "{name(obj)}" is already paused')
        opened.client.patch(Ref.of(obj), {"spec": {"paused": True}})
        return f"{kind.display(name(obj))} paused"

    wanted = _pausable(resources, "pause")
    # No Lease is needed: the process that runs the rollout notices through its watch.
    with session(ctx, act=False) as opened:
        return each(opened.client, Query(wanted, settings(ctx).namespace, selector), one).code


def resume(
    ctx: typer.Context,
    resources: options.Resources = None,
    selector: options.Selector = "",
    wait: options.Wait = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Let a paused rollout go on."""

    def one(kind: Kind, obj: Obj) -> str:
        if not _paused(obj):
            raise UserError(f'{kind.resource} "{name(obj)}" is not paused')
        opened.client.patch(Ref.of(obj), {"spec": {"paused": False}})
        return f"{kind.display(name(obj))} resumed"

    patience = seconds(timeout, "--timeout")
    wanted = _pausable(resources, "resume")
    with session(ctx, act=True) as opened:
        done = each(opened.client, Query(wanted, settings(ctx).namespace, selector), one)
        return converge(opened, done.refs, wait=wait, timeout=patience) or done.code


def restart(
    ctx: typer.Context,
    resources: options.Resources = None,
    selector: options.Selector = "",
    wait: options.Wait = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Replace all pods of a workload by a normal rollout."""

    def one(kind: Kind, obj: Obj) -> str:
        if _paused(obj):
            raise UserError(
                f'{kind.resource} "{name(obj)}" can\'t restart paused {kind.singular} (run rollout resume first)'
            )
        assert kind.workload is not None and kind.workload.restart is not None
        patch = kind.workload.restart(obj, now)
        if not difference(obj, merge(obj, patch)):
            raise UserError(
                f"{kind.display(name(obj))}: if restart has already been triggered within the past second, "
                "please wait before attempting to trigger another"
            )
        opened.client.patch(Ref.of(obj), patch)
        return f"{kind.display(name(obj))} restarted"

    patience = seconds(timeout, "--timeout")
    wanted = resourceargs.parse(resources, "restart")
    _only(wanted, lambda workload: workload.restart is not None, "restarting")
    with session(ctx, act=True) as opened:
        now = timestamp(time.time())
        done = each(opened.client, Query(wanted, settings(ctx).namespace, selector), one)
        return converge(opened, done.refs, wait=wait, timeout=patience) or done.code


def _pausable(resources: list[str] | None, verb: str) -> resourceargs.Wanted:
    wanted = resourceargs.parse(resources, verb)
    _only(wanted, lambda workload: workload.pausable, "pausing" if verb == "pause" else "resuming")
    return wanted


def _only(wanted: resourceargs.Wanted, can: Callable[[Workload], bool], doing: str) -> None:
    """UserError in kubectl's words where a kind cannot do that; nothing is changed then."""
    named = [(kind, f' "{word}"') for kind, word in wanted.objects]
    for kind, word in [*named, *((kind, "") for kind in wanted.kinds)]:
        if kind.workload is None or not can(kind.workload):
            raise UserError(f"{kind.resource}{word} {doing} is not supported")


def _paused(obj: Obj) -> bool:
    return bool(get(obj, "spec", "paused", default=False))
