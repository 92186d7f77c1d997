"""`ktool rollout pause`, `resume` and `restart`."""

from __future__ import annotations

import time
from typing import Any

import typer

from ktool.api.errors import UserError
from ktool.api.kind import Kind
from ktool.api.marks import RESTARTED_AT
from ktool.api.obj import Obj, annotations_of, get, name, timestamp
from ktool.api.ref import Ref
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.targets import each, kinds_of
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
        if annotations_of(get(obj, "spec", "template", default={})).get(RESTARTED_AT) == now:
            raise UserError(
                f"{kind.display(name(obj))}: if restart has already been triggered within the past second, "
                "please wait before attempting to trigger another"
            )
        notes: dict[str, Any] = {"metadata": {"annotations": {RESTARTED_AT: now}}}
        opened.client.patch(Ref.of(obj), {"spec": {"template": notes}})
        return f"{kind.display(name(obj))} restarted"

    patience = seconds(timeout, "--timeout")
    wanted = resourceargs.parse(resources, "restart")
    for kind in kinds_of(wanted):
        if kind.workload is None or not kind.workload.restartable:
            raise UserError(f"{kind.resource} restarting is not supported")
    with session(ctx, act=True) as opened:
        now = timestamp(time.time())
        done = each(opened.client, Query(wanted, settings(ctx).namespace, selector), one)
        return converge(opened, done.refs, wait=wait, timeout=patience) or done.code


def _pausable(resources: list[str] | None, verb: str) -> resourceargs.Wanted:
    wanted = resourceargs.parse(resources, verb)
    for kind in kinds_of(wanted):
        if kind.workload is None or not kind.workload.pausable:
            raise UserError(f"{kind.resource} {'pausing' if verb == 'pause' else 'resuming'} is not supported")
    return wanted


def _paused(obj: Obj) -> bool:
    return bool(get(obj, "spec", "paused", default=False))
