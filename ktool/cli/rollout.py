"""`ktool rollout status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.kind import REGISTRY, Progress
from ktool.api.ref import Ref
from ktool.api.world import World
from ktool.cli import converge, errors, names, options, render
from ktool.cli.command import Verb, examples, session, settings, verbs
from ktool.cli.durations import seconds
from ktool.cli.errors import CliError
from ktool.cli.follow import scopes
from ktool.cli.wait import Waited

if TYPE_CHECKING:
    from ktool.client.base import Client

app = verbs("Follow the rollout of a workload.", no_args_is_help=True)

EXAMPLES = """
ktool rollout status deploy/web
ktool rollout status deploy/web --timeout=2m
ktool rollout status deploy/web --watch=false
"""


@app.callback()
def rollout() -> None:
    """Follow the rollout of a workload."""


@app.command("status", cls=Verb, epilog=examples(EXAMPLES))
def status(
    ctx: typer.Context,
    resources: options.Resources = None,
    watch: Annotated[bool, typer.Option("-w/-W", "--watch/--no-watch", help="Wait until it is done.")] = True,
    timeout: options.Timeout = "0",
) -> int:
    """Show how far a rollout is, until it is done."""
    patience = seconds(timeout, "--timeout")
    refs = names.parse(resources, "follow").refs(settings(ctx).namespace)
    if not refs:
        raise CliError("name what to follow, e.g. deploy/web")
    for ref in refs:
        if REGISTRY[ref.kind].progress is None:
            raise CliError(f"{REGISTRY[ref.kind].resource} have no rollout")
    with session(ctx, act=False) as opened:
        standing = [_standing(opened.client, ref) for ref in refs]
    if not watch or all(one.done for one in standing):
        for one in standing:
            print(one.message)
        return errors.DONE
    return _follow(ctx, refs, patience)


def _follow(ctx: typer.Context, refs: list[Ref], patience: float) -> int:
    """Wait, and where no server runs be the control plane meanwhile: else nothing would move. Where another command
    is that already, look on."""
    try:
        with session(ctx, act=True) as opened:
            return _told(converge.watch(opened, refs, patience, sys.stdout))
    except Exception as error:
        if errors.exit_code(error) != errors.LOCKED:
            raise
    with session(ctx, act=False) as opened:
        return _told(converge.watch(opened, refs, patience, sys.stdout))


def _told(waited: Waited) -> int:
    for message in waited.at_once.values():
        print(message)
    return waited.exit_code


def _standing(client: Client, ref: Ref) -> Progress:
    """How far an object is now. ApiError where it does not exist."""
    obj = client.get(ref)
    world = World(item for kind, namespace in scopes([ref]) for item in client.list(kind, namespace).items)
    judge = REGISTRY[ref.kind].progress
    assert judge is not None
    found = judge(obj, world)
    return Progress(found.done, render.safe(found.failed or found.message), found.failed)
