"""`ktool drift`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ERROR, PARTIAL, not_found
from ktool.api.obj import Obj, name
from ktool.api.ref import EVENT, LEASE, NODE, Ref
from ktool.cli.plumbing import errors
from ktool.cli.plumbing.command import Verb, examples, session, verbs
from ktool.logic.network.nodefields import is_simulated
from ktool.manifests import dump
from ktool.present import output
from ktool.present.table import Table

if TYPE_CHECKING:
    from ktool.nodeplane.drift import NodeDrift
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool drift               # 0: all is as desired; 1: it is not; 4: a node could not be asked
ktool drift n1 n2
ktool drift -o json
"""

_NOT_LOOKED_AT = (EVENT, LEASE)
"""Kinds that no plan for a node is made from."""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def drift(
    ctx: typer.Context,
    nodes: Annotated[list[str] | None, typer.Argument(metavar="[NODE...]", show_default=False)] = None,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="json or yaml.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> int:
    """Name what on the nodes is not as desired.

    Pods, containers and volumes, routes, the pod network, service rules and the name server: missing, extra or
    outdated. It only looks: nothing is changed, and a control plane that is at work is not disturbed. What is named
    is repaired by the next command that acts, or by the server.
    """
    form = output.parse(output_format, headless=no_headers, only=("json", "yaml"))
    with session(ctx, act=False) as opened:
        looks = _look(opened.client, nodes or [])
    if form.is_table:
        _print(looks, no_headers)
    else:
        found = _as_data(looks)
        text = json.dumps(found, indent=4, ensure_ascii=False) + "\n" if form.format == "json" else dump.to_yaml(found)
        sys.stdout.write(text)
    if any(look.error for look in looks):
        return PARTIAL
    return ERROR if any(look.drift for look in looks) else DONE


def _look(client: Client, wanted: Sequence[str]) -> list[NodeDrift]:
    from ktool.app import connector
    from ktool.nodeplane.drift import inspect

    objects = [obj for kind in client.kinds if kind.gk not in _NOT_LOOKED_AT for obj in client.list(kind.gk).items]
    known = {name(obj): obj for obj in objects if Ref.of(obj).gk == NODE}
    for one in wanted:
        if one not in known:
            raise not_found("nodes", one)
    chosen = list(dict.fromkeys(wanted)) or sorted(known)
    real = [one for one in chosen if not is_simulated(known[one])]
    _say_simulated([known[one] for one in chosen if one not in real])
    if not known:
        errors.say("No nodes yet; `ktool node add` or `ktool lab up` bring some")
    cluster = client.version()["cluster"]
    return inspect(objects, real, cluster=cluster, connect=connector(cluster), clock=time.time)


def _say_simulated(nodes: Sequence[Obj]) -> None:
    if nodes:
        which = f"node {name(nodes[0])} is" if len(nodes) == 1 else f"{len(nodes)} nodes are"
        errors.say(f"{which} simulated: in the memory of whatever runs the control plane, and not looked at")


def _print(looks: Sequence[NodeDrift], headless: bool) -> None:
    rows = []
    for one in looks:
        if one.error:
            rows.append([one.node, "node", f"cannot be asked: {one.error}", "will be asked again"])
        rows += [[one.node, each.what, each.found, each.repair] for each in one.drift]
    if rows:
        print("\n".join(Table(["NODE", "WHAT", "FOUND", "REPAIR"], headless=headless).lines(rows)))
    elif looks:
        errors.say("All is as desired.")


def _as_data(looks: Sequence[NodeDrift]) -> Obj:
    return {
        "kind": "Drift",
        "nodes": [
            {
                "name": one.node,
                "asDesired": not one.drift and not one.error,
                **({"error": one.error} if one.error else {}),
                "drift": [{"what": each.what, "found": each.found, "repair": each.repair} for each in one.drift],
            }
            for one in looks
        ],
    }
