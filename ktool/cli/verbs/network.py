"""`ktool network`: how pods of different nodes reach each other: show it, set it, check it."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktool.api.errors import DONE, ERROR, PARTIAL, TIMEOUT, ApiError, UsageError, UserError, is_not_found
from ktool.api.obj import Obj, deleting, get, name
from ktool.api.ref import ENDPOINT_SLICE, NODE, SERVICE
from ktool.cli.plumbing import errors, options
from ktool.cli.plumbing.command import Verb, examples, session, verbs
from ktool.cli.plumbing.durations import seconds
from ktool.logic.network import links
from ktool.logic.network.nodefields import address_of, is_simulated, others
from ktool.present.progress import progress
from ktool.present.table import Table

if TYPE_CHECKING:
    from ktool.app import Session
    from ktool.node.podman.facts import Settled
    from ktool.registry.client import Client

app = verbs("Show, set and check how pods of different nodes reach each other.", no_args_is_help=True)

SHOW = """
ktool network show
ktool network show -o wide
"""
SET = """
ktool network set vxlan        # nodes on different links
ktool network set wireguard    # the same, encrypted
ktool network set hostgw       # nodes that share a link: plain routes
"""
CHECK = """
ktool network check
ktool network check -o json --timeout 10s
"""
SIDE_BY_SIDE = 16


@app.callback()
def network() -> None:
    """Show, set and check how pods of different nodes reach each other.

    Modes: hostgw (routes between nodes that share a link), vxlan (a tunnel, across routers), wireguard (an encrypted
    tunnel).
    """


def mode(client: Client) -> str:
    """The mode of this cluster."""
    try:
        return links.mode_of(client.get(links.SETTINGS))
    except ApiError as error:
        if not is_not_found(error):
            raise
        return links.HOSTGW


def real_nodes(client: Client) -> list[Obj]:
    """Nodes that have a network, by name."""
    return sorted((node for node in client.list(NODE).items if not is_simulated(node)), key=name)


# --- show --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """A node, and what it said just now, or why it did not."""

    node: Obj
    settled: Settled | None
    error: str = ""


@app.command("show", cls=Verb, epilog=examples(SHOW))
def show(
    ctx: typer.Context,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="wide or json.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> int:
    """Show for each node its pod subnet, mode and routes, its service rules and its name server, as they are now.

    Exit code 1 where a node is not as it should be, 4 where one cannot be asked.
    """
    options.choice(output_format, ("", "wide", "json"), "-o")
    with session(ctx, act=False) as opened:
        nodes, chosen = real_nodes(opened.client), mode(opened.client)
    if not nodes and output_format != "json":
        errors.say("No nodes with a network; `ktool node add` or `ktool lab up` bring some")
        return DONE
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        looks = list(pool.map(_look, nodes))
    rows = [_row(look, nodes, chosen) for look in looks]
    if output_format == "json":
        print(json.dumps({"mode": chosen, "nodes": rows}, indent=4))
    else:
        print("\n".join(_table(rows, wide=output_format == "wide", headless=no_headers)))
        for row in rows:
            for line in row["differs"]:
                errors.say(f"{row['name']}: {line}")
            if row["error"]:
                errors.say(f"{row['name']}: {row['error']}")
    if any(row["error"] for row in rows):
        return PARTIAL
    return ERROR if any(row["differs"] for row in rows) else DONE


def _look(node: Obj) -> Look:
    from ktool.node import connect
    from ktool.node.base import NodeError
    from ktool.node.podman import facts

    try:
        with connect.connected(node) as transport:
            done = transport.run(facts.SETTLED, timeout=15)
    except NodeError as error:
        return Look(node, None, error.message)
    return Look(node, facts.Settled(done.stdout.decode("utf-8", "replace")))


def _row(look: Look, nodes: Sequence[Obj], chosen: str) -> dict[str, Any]:
    """What is shown of a node, in the shape of -o json."""
    wanted = links.links(look.node, nodes, chosen)
    row: dict[str, Any] = {
        "name": name(look.node),
        "address": address_of(look.node),
        "podCIDR": get(look.node, "spec", "podCIDR", default=""),
        "error": look.error,
        "differs": [],
        "wanted": len(wanted.routes),
        "routes": [],
    }
    if look.settled is None:
        return row
    have = look.settled.links
    row["differs"] = [f"{one.what}: {one.found}" for one in links.differences(wanted, have)]
    row["routes"] = [{"subnet": one.subnet, "mode": one.mode, "via": one.via} for one in have.routes]
    for device, found in ((links.VXLAN_DEVICE, have.vxlan), (links.WIREGUARD_DEVICE, have.wireguard)):
        if found:
            row[device] = {"mtu": found.mtu, "peers": len(found.peers)}
    row["key"], row["rules"], row["dns"] = look.settled.key, look.settled.rules, look.settled.zone
    row["differs"] += [] if row["rules"] else ["its service rules are not in force"]
    row["differs"] += [] if row["dns"] else ["its name server does not run"]
    return row


def _table(rows: Sequence[dict[str, Any]], *, wide: bool, headless: bool) -> list[str]:
    more = ["ADDRESS", "DEVICE", "MTU", "PEERS", "WIREGUARD KEY"] if wide else []
    table = Table(["NODE", "STATUS", "CIDR", "MODE", "ROUTES", "RULES", "DNS", *more], headless=headless)
    return table.lines([[*_cells(row), *(_more(row) if wide else ())] for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    if row["error"]:
        return [row["name"], "Unknown", row["podCIDR"], "", "", "", ""]
    modes = ",".join(sorted({route["mode"] for route in row["routes"]}))
    routes = f"{len(row['routes'])}/{row['wanted']}"
    status = "Differs" if row["differs"] else "Ready"
    return [row["name"], status, row["podCIDR"], modes, routes, row["rules"], row["dns"]]


def _more(row: dict[str, Any]) -> list[str]:
    devices = {device: row[device] for device in links.DEVICES if device in row}
    return [
        row["address"],
        ",".join(devices),
        ",".join(str(one["mtu"]) for one in devices.values()),
        ",".join(str(one["peers"]) for one in devices.values()),
        row.get("key", ""),
    ]


# --- set ---------------------------------------------------------------------------------------------------------


@app.command("set", cls=Verb, epilog=examples(SET))
def set_mode(
    ctx: typer.Context,
    chosen: Annotated[str, typer.Argument(metavar="MODE", show_default=False)],
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "2m",
) -> int:
    """Set the mode of the pod network, on a running cluster too: no pod is restarted and no connection is lost.

    All nodes are asked first whether they can; where one cannot, nothing is changed and every need is named. Kept in
    the ConfigMap kube-system/ktool-network.
    """
    _known(chosen)
    patience = seconds(timeout, "--timeout")
    with session(ctx, act=True) as opened:
        _refuse_unable(real_nodes(opened.client), chosen)
        print(f"network mode {chosen} {_write(opened.client, chosen)}", flush=True)
        if opened.plane is not None:
            opened.plane.nodes.settings_changed()
        return _follow(opened, chosen, patience)


def _known(chosen: str) -> None:
    if chosen not in links.MODES:
        close = difflib.get_close_matches(chosen, links.MODES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"unknown network mode {chosen!r}: use {', '.join(links.MODES)}{hint}")


def _refuse_unable(nodes: Sequence[Obj], chosen: str) -> None:
    """UserError with every unmet need of every node."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        answers = list(pool.map(lambda node: _needs(node, nodes, chosen), nodes))
    problems = [f"{name(node)}: {need}" for node, needs in zip(nodes, answers, strict=True) for need in needs]
    if problems:
        raise UserError("\n".join([*problems, "nothing was changed"]))


def _needs(node: Obj, nodes: Sequence[Obj], chosen: str) -> list[str]:
    from ktool.node import bootstrap, connect
    from ktool.node.base import NodeError

    if deleting(node):
        return []
    try:
        with connect.connected(node) as transport:
            return bootstrap.mode_needs(transport, chosen, [one.address for one in others(node, nodes)])
    except NodeError as error:
        return [error.message]


def _write(client: Client, chosen: str) -> str:
    data = {"data": {"mode": chosen}}
    if mode(client) == chosen:
        return "unchanged"
    try:
        client.patch(links.SETTINGS, data)
    except ApiError as error:
        if not is_not_found(error):
            raise
        where = {"name": links.SETTINGS.name, "namespace": links.SETTINGS.namespace}
        client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, **data})
    return "set"


def _follow(opened: Session, chosen: str, timeout: float) -> int:
    """Wait until every node says that it sends by this mode and by no other. The exit code."""
    end = time.monotonic() + timeout
    with progress() as told:
        while True:
            nodes = [node for node in real_nodes(opened.client) if get(node, "spec", "podCIDR") and not deleting(node)]
            late = [node for node in nodes if not links.has_switched(node, nodes, chosen)]
            if not late:
                return DONE
            if time.monotonic() > end:
                break
            told.update([f"node/{name(node)}: {links.told_of(node)}" for node in late])
            time.sleep(0.1)
    for node in late:
        errors.say(f"error: timed out after {timeout:g}s waiting for node/{name(node)}: it {links.told_of(node)}")
    return TIMEOUT


# --- check -------------------------------------------------------------------------------------------------------


@app.command("check", cls=Verb, epilog=examples(CHECK))
def check(
    ctx: typer.Context,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="json.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long each question may take.")
    ] = "3s",
) -> int:
    """Send real packets from every node to every other one, to each service and to the DNS. Exit code 1 where one
    fails.

    From pod network to pod network with a network namespace of our own on each node, for the time of the check, so
    that neither pods nor tools on the nodes are needed; services are asked from the nodes themselves.
    """
    from ktool.cli.node.netcheck import check as ask

    options.choice(output_format, ("", "json"), "-o")
    patience = seconds(timeout, "--timeout")
    if patience <= 0:
        raise UsageError("--timeout: a question needs some time, such as 3s")
    with session(ctx, act=False) as opened:
        nodes = [node for node in real_nodes(opened.client) if not deleting(node)]
        services, slices = (opened.client.list(kind).items for kind in (SERVICE, ENDPOINT_SLICE))
    if not nodes:
        errors.say("No nodes with a network; `ktool node add` or `ktool lab up` bring some")
        return DONE
    results = ask(nodes, services, slices, patience)
    failed = sum(result.status == "failed" for result in results)
    if output_format == "json":
        print(json.dumps({"failed": failed, "checks": [result.as_json() for result in results]}, indent=4))
        return ERROR if failed else DONE
    table = Table(["FROM", "WHAT", "TO", "ADDRESS", "RESULT", "TIME", "MESSAGE"], headless=no_headers)
    rows = [
        [one.source, one.what, one.to, one.address, one.status, _milliseconds(one.seconds), one.message]
        for one in results
    ]
    print("\n".join(line.removesuffix("<none>").rstrip() for line in table.lines(rows)))
    errors.say(f"{failed} of {len(results)} failed" if failed else f"all {len(results)} as they should be")
    return ERROR if failed else DONE


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds else "-"
