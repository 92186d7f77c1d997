"""`ktool scale`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ktool.api.errors import DONE, ERROR, ApiError, UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, meta, name
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.verbs.get import Query, fetch

app = verbs()

EXAMPLES = """
ktool scale deploy/web --replicas=3
ktool scale deploy web api --replicas=0
ktool scale deploy/web --current-replicas=2 --replicas=3   # only if it is 2 now
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def scale(
    ctx: typer.Context,
    resources: options.Resources = None,
    replicas: Annotated[
        int, typer.Option("--replicas", metavar="N", help="The wanted number.", show_default=False)
    ] = -1,
    current_replicas: Annotated[
        int,
        typer.Option(
            "--current-replicas", metavar="N", help="Only where that many are wanted now.", show_default=False
        ),
    ] = -1,
    resource_version: Annotated[
        str, typer.Option("--resource-version", metavar="VERSION", help="Only where the object is at this version.")
    ] = "",
    selector: options.Selector = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the pods are there or gone.")] = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Set the number of replicas."""
    if replicas < 0:
        raise UsageError("--replicas=N is required, N being 0 or more")
    patience = seconds(timeout, "--timeout")
    wanted = resourceargs.parse(resources, "scale")
    if wanted.kinds and not (selector or every):
        raise UsageError("say which: names, -l SELECTOR or --all")
    for kind in (*wanted.kinds, *(kind for kind, _ in wanted.objects)):
        if "scale" not in kind.subresources:
            raise UserError(f"{kind.resource} cannot be scaled")
    with session(ctx, act=True) as opened:
        groups, missing = fetch(opened.client, Query(wanted, settings(ctx).namespace, selector))
        for error in missing:
            print(errors.sentence(error), file=sys.stderr)
        code = ERROR if missing else DONE
        scaled: list[Ref] = []
        for kind, objects in groups:
            for obj in objects:
                try:
                    patch = _patch(kind, obj, replicas, current_replicas, resource_version)
                    opened.client.patch(Ref.of(obj), patch, subresource="scale")
                except (ApiError, UserError) as error:
                    print(errors.sentence(error), file=sys.stderr)
                    code = ERROR
                    continue
                scaled.append(Ref.of(obj))
                print(f"{kind.display(name(obj))} scaled", flush=True)
        return converge(opened, scaled, wait=wait, timeout=patience) or code


def _patch(kind: Kind, obj: Obj, replicas: int, current: int, version: str) -> dict[str, Any]:
    """The merge patch of the scale subresource. With a condition it carries the version that was looked at, so that
    nobody can change the object in between."""
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    if current >= 0:
        present = int(get(obj, "spec", "replicas", default=1))
        if present != current:
            raise UserError(f"{kind.display(name(obj))}: expected replicas to be {current}, was {present}")
        version = version or str(meta(obj).get("resourceVersion", ""))
    if version:
        patch["metadata"] = {"resourceVersion": version}
    return patch
