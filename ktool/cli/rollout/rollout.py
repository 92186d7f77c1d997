"""`ktool rollout`: status here; history and undo, and the switches, in modules of their own."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ERROR, LOCKED, ROLLED_BACK, UserError
from ktool.api.kind import Progress
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.api.world import World
from ktool.cli.plumbing import converge, errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.durations import seconds
from ktool.cli.rollout import history, pause_resume_restart
from ktool.follow.follower import scopes
from ktool.follow.wait import Waited, shown
from ktool.present import table

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs("Follow, hold, restart and undo the rollout of a workload.", no_args_is_help=True)

EXAMPLES = """
ktool rollout status deploy/web
ktool rollout status deploy/web --timeout=2m
ktool rollout status deploy/web --watch=false
"""


@app.callback()
def rollout() -> None:
    """Follow, hold, restart and undo the rollout of a workload."""


app.command("history", cls=Verb, epilog=examples(history.HISTORY))(history.history)
app.command("undo", cls=Verb, epilog=examples(history.UNDO))(history.undo)
app.command("pause", cls=Verb, epilog=examples(pause_resume_restart.PAUSE))(pause_resume_restart.pause)
app.command("resume", cls=Verb, epilog=examples(pause_resume_restart.RESUME))(pause_resume_restart.resume)
app.command("restart", cls=Verb, epilog=examples(pause_resume_restart.RESTART))(pause_resume_restart.restart)


@app.command("status", cls=Verb, epilog=examples(EXAMPLES))
def status(
    ctx: typer.Context,
    resources: options.Resources = None,
    watch: Annotated[bool, typer.Option("-w/-W", "--watch/--no-watch", help="Wait until it is done.")] = True,
    timeout: options.Timeout = "0",
) -> int:
    """Show how far a rollout is, until it is done."""
    patience = seconds(timeout, "--timeout")
    refs = resourceargs.parse(resources, "follow").refs(settings(ctx).namespace)
    if not refs:
        raise UserError("name what to follow, e.g. deploy/web")
    for ref in refs:
        kind = resourceargs.kinds()[ref.gk]
        if kind.controller.progress is None:
            raise UserError(f"{kind.resource} have no rollout")
    with session(ctx, act=False) as opened:
        standing = {ref: _standing(opened.client, ref) for ref in refs}
    if watch and not all(one.done for one, _ in standing.values()):
        return _follow(ctx, refs, patience)
    for one, _ in standing.values():
        print(one.message)
    if not watch:
        return DONE
    if any(one.rolled_back for one, _ in standing.values()):
        return ROLLED_BACK
    return _held({ref: obj for ref, (_, obj) in standing.items()})


def _follow(ctx: typer.Context, refs: list[Ref], patience: float) -> int:
    """Wait, and where no server runs be the control plane meanwhile: else nothing would move. Where another command
    is that already, look on."""
    try:
        with session(ctx, act=True) as opened:
            return _told(converge.watch(opened, refs, patience, sys.stdout), refs)
    except Exception as error:
        if errors.exit_code(error) != LOCKED:
            raise
    with session(ctx, act=False) as opened:
        return _told(converge.watch(opened, refs, patience, sys.stdout), refs)


def _told(waited: Waited, refs: list[Ref]) -> int:
    for message in waited.at_once.values():
        print(message)
    return waited.exit_code or _held({ref: obj for ref in refs if (obj := waited.world.get(ref)) is not None})


def _held(objects: dict[Ref, Obj]) -> int:
    """A rollout that is paused half way is not done, and waiting does not help it."""
    paused = [ref for ref, obj in objects.items() if _is_held(ref, obj)]
    for ref in paused:
        errors.say(f"error: {shown(ref)} is paused; `ktool rollout resume` lets it go on")
    return ERROR if paused else DONE


def _is_held(ref: Ref, obj: Obj) -> bool:
    workload = resourceargs.kinds()[ref.gk].workload
    return workload is not None and workload.held(obj)


def _standing(client: Client, ref: Ref) -> tuple[Progress, Obj]:
    """How far an object is now, and the object. ApiError where it does not exist."""
    obj = client.get(ref)
    world = World(
        item for kind, namespace in scopes(client.kinds, [ref]) for item in client.list(kind, namespace).items
    )
    judge = client.kinds[ref.gk].controller.progress
    assert judge is not None
    found = judge(obj, world)
    return replace(found, message=table.safe(found.failed or found.message)), obj
