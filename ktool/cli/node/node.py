"""`ktool node`: add, list, show, remove."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from ktool.api.errors import DONE, ERROR, ApiError, UsageError, UserError, is_not_found
from ktool.api.kind import Column
from ktool.api.marks import CONNECTION
from ktool.api.obj import Obj, annotations_of, get, name, uid
from ktool.api.pod import finished, node_of
from ktool.api.ref import NODE, POD, Ref
from ktool.api.units.quantity import is_quantity
from ktool.cli.node.enroll import Newcomer, enroll, forget, label, ssh_url, taint
from ktool.cli.plumbing import errors, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, verbs
from ktool.cli.plumbing.converge import converge, end
from ktool.cli.plumbing.durations import seconds
from ktool.follow.wait import Departure
from ktool.present import output
from ktool.present.columns import columns_of
from ktool.present.table import Table

app = verbs("Add, list, show and remove nodes.", no_args_is_help=True)

ADD = """
ktool node add n1 root@192.0.2.7 --identity ~/.ssh/id_ed25519
ktool node add n2 admin@192.0.2.8:2222 --label disk=ssd --taint gpu=true:NoSchedule
ktool node add here --local                       # this very machine
ktool node add sim --simulated --count 100 --cpu 32 --memory 256Gi
"""
LIST = """
ktool node list
ktool node list -o wide
"""
SHOW = """
ktool node show n1
"""
REMOVE = """
ktool node remove n1
ktool node remove n1 --force    # its machine is gone for good
"""


@app.callback()
def node() -> None:
    """Add, list, show and remove nodes."""


@app.command("add", cls=Verb, epilog=examples(ADD))
def add(
    ctx: typer.Context,
    node_name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="[USER@]HOST[:PORT]", show_default=False)] = "",
    identity: Annotated[str, typer.Option("--identity", metavar="FILE", help="Private key for the SSH login.")] = "",
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Label of the node; may repeat.")
    ] = None,
    taints: Annotated[
        list[str] | None, typer.Option("--taint", metavar="KEY=VALUE:EFFECT", help="Keeps pods away; may repeat.")
    ] = None,
    pod_cidr: Annotated[
        str, typer.Option("--pod-cidr", metavar="CIDR", help="Subnet of its pods; the next free one without it.")
    ] = "",
    accept_new_host_keys: Annotated[
        bool, typer.Option("--accept-new-host-keys", help="Take a host key that known_hosts does not know.")
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Take it from a cluster that is gone; what that one left stays."),
    ] = False,
    local: Annotated[bool, typer.Option("--local", help="This very machine, without SSH.")] = False,
    simulated: Annotated[bool, typer.Option("--simulated", help="A machine that exists in memory only.")] = False,
    count: Annotated[
        int, typer.Option("--count", metavar="N", help="Simulated: so many, NAME-1 to NAME-N.", show_default=False)
    ] = 0,
    cpu: Annotated[str, typer.Option("--cpu", metavar="CORES", help="Simulated: its cores (32).")] = "",
    memory: Annotated[str, typer.Option("--memory", metavar="QUANTITY", help="Simulated: its memory (256Gi).")] = "",
    start_delay: Annotated[
        str, typer.Option("--start-delay", metavar="DURATION", help="Simulated: how long a container takes to start.")
    ] = "",
    fail: Annotated[
        list[str] | None,
        typer.Option("--fail", metavar="REASON@PATTERN", help="Simulated: what goes wrong, e.g. ErrImagePull@nginx*."),
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "2m",
) -> int:
    """Make a machine a node.

    It is checked first, and every unmet need is named at once: SSH login, root or sudo, Podman, network backend,
    forwarding. Nothing of ktool is installed on it. Its host key must be in known_hosts (or given leave by
    --accept-new-host-keys) and is pinned from then on.
    """
    patience = seconds(timeout, "--timeout")
    base = Newcomer(
        node_name,
        "",
        labels=dict(label(text) for text in labels or ()),
        taints=tuple(taint(text) for text in taints or ()),
        accept_new_host_key=accept_new_host_keys,
        take_over=take_over,
        pod_cidr=pod_cidr,
    )
    simulation: dict[str, object] = {
        "cpu": cpu,
        "memory": memory,
        "startDelay": start_delay,
        "fail": fail,
        "count": count,
    }
    newcomers = _newcomers(base, target, identity, local, simulated, simulation)
    with session(ctx, act=True) as opened:
        refs = enroll(opened.client, newcomers, _say)
        return converge(opened, refs, wait=True, timeout=patience)


def _say(line: str) -> None:
    print(line, file=sys.stderr if line.startswith("Warning") else sys.stdout, flush=True)


def _newcomers(
    base: Newcomer, target: str, identity: str, local: bool, simulated: bool, simulation: dict[str, object]
) -> list[Newcomer]:
    """What the options mean. UsageError where they contradict each other."""
    if sum(map(bool, (target, local, simulated))) != 1:
        raise UsageError("say how to reach the node: [USER@]HOST[:PORT], or --local, or --simulated")
    if not simulated:
        stray = [f"--{key.replace('D', '-d')}" for key, value in simulation.items() if value]
        if stray:
            raise UsageError(f"{', '.join(stray)} {'is' if len(stray) == 1 else 'are'} for --simulated nodes only")
    if base.pod_cidr and simulated:
        raise UsageError("--pod-cidr is for real nodes: simulated ones have no network")
    if not target and (identity or base.accept_new_host_key):
        raise UsageError("--identity and --accept-new-host-keys are for nodes that are reached over SSH")
    if target:
        return [replace(base, connection=ssh_url(target), identity=_identity(identity))]
    if local:
        return [replace(base, connection="local://")]
    return _simulated(base, simulation)


def _identity(text: str) -> str:
    """The key file's absolute path. The control plane may run somewhere else than this command."""
    if not text:
        return ""
    path = Path(text).expanduser().absolute()
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"the identity {path} cannot be read: {error.strerror}") from None
    return str(path)


def _simulated(base: Newcomer, simulation: dict[str, object]) -> list[Newcomer]:
    for key in ("cpu", "memory"):
        if simulation[key] and not is_quantity(simulation[key]):
            raise UsageError(f"--{key}: {simulation[key]!r} is not a quantity such as 32 or 256Gi")
    query = [(key, str(simulation[key] or default)) for key, default in (("cpu", "32"), ("memory", "256Gi"))]
    if simulation["startDelay"]:
        query.append(("startDelay", f"{seconds(str(simulation['startDelay']), '--start-delay'):g}"))
    faults = simulation["fail"] if isinstance(simulation["fail"], list) else []
    query += [("fail", _fault(str(fault))) for fault in faults]
    connection = f"simulated://?{urlencode(query, safe='@*:')}"
    count = int(str(simulation["count"] or 0))
    if count < 0 or count > 10_000:
        raise UsageError(f"--count: {count} is not between 1 and 10000")
    if not count:
        return [replace(base, connection=connection)]
    width = len(str(count))
    return [
        replace(base, name=f"{base.name}-{number:0{width}}", connection=connection) for number in range(1, count + 1)
    ]


def _fault(text: str) -> str:
    """REASON or REASON@PATTERN. UsageError for a reason that simulated machines do not know."""
    from ktool.node.simulated.faults import Fault

    reason, _, pattern = text.partition("@")
    try:
        Fault(reason, pattern or "*")
    except ValueError as error:
        raise UsageError(f"--fail: {error}") from None
    return text


# --- list, show, remove ------------------------------------------------------------------------------------------


@app.command("list", cls=Verb, epilog=examples(LIST))
def list_nodes(
    ctx: typer.Context,
    output_format: Annotated[
        str, typer.Option("-o", "--output", metavar="FORMAT", help="wide, name, yaml or json.")
    ] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> int:
    """List the nodes with what runs on them."""
    form = output.parse(output_format, headless=no_headers, only=("wide", "name", "yaml", "json"))
    with session(ctx, act=False) as opened:
        nodes = sorted(opened.client.list(NODE).items, key=name)
        pods = opened.client.list(POD).items if form.is_table else []
    if not form.is_table:
        sys.stdout.write(form.text(nodes, listed=True))
        return DONE
    if not nodes:
        errors.say("No nodes yet; `ktool node add` or `ktool lab up` bring some")
        return DONE
    counts: dict[str, int] = {}
    for pod in pods:
        if not finished(pod):
            counts[node_of(pod)] = counts.get(node_of(pod), 0) + 1
    columns = _columns(wide=form.format == "wide")
    table = Table(["NAME", "STATUS", "PODS", *(title for title, _ in columns)], headless=no_headers)
    now = time.time()
    rows = []
    for one in nodes:
        status = _cell("STATUS", one, now)
        rows.append(
            [name(one), status, str(counts.get(name(one), 0)), *(_value(what, one, now) for _, what in columns)]
        )
    print("\n".join(table.lines(rows)))
    return DONE


def _columns(wide: bool) -> list[tuple[str, str]]:
    columns = [("CPU", "cpu"), ("MEMORY", "memory"), ("POD CIDR", "cidr"), ("CONNECTION", "connection"), ("AGE", "AGE")]
    return [*columns, ("OS", "OS-IMAGE"), ("RUNTIME", "CONTAINER-RUNTIME")] if wide else columns


def _value(what: str, one: Obj, now: float) -> str:
    if what in ("cpu", "memory"):
        return str(get(one, "status", "capacity", what, default=""))
    if what == "cidr":
        return str(get(one, "spec", "podCIDR", default=""))
    if what == "connection":
        return annotations_of(one).get(CONNECTION, "").partition("?")[0]
    return _cell(what, one, now)


def _cell(column: str, one: Obj, now: float) -> str:
    """What the Node kind itself shows in a column."""
    found: Column | None = next((c for c in columns_of(resourceargs.kinds()[NODE]) if c.name == column), None)
    return found.cell(one, now) if found else ""


@app.command("show", cls=Verb, epilog=examples(SHOW))
def show(ctx: typer.Context, node_name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> int:
    """Show the details of a node with its pods and events."""
    from ktool.cli.verbs.describe import text

    kind = resourceargs.kinds()[NODE]
    with session(ctx, act=False) as opened:
        found = opened.client.get(Ref(NODE, "", node_name))
        sys.stdout.write(text(opened.client, kind, found, with_events=True))
    return DONE


@app.command("remove", cls=Verb, epilog=examples(REMOVE))
def remove(
    ctx: typer.Context,
    node_names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Do not clean the machine: it is gone for good.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="Unknown nodes are no error.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "5m",
) -> int:
    """Take nodes out of the cluster.

    Everything of this cluster on the machine is ended and removed; nothing else of it is touched.
    """
    patience = seconds(timeout, "--timeout")
    refs = [Ref(NODE, "", one) for one in dict.fromkeys(node_names)]
    with session(ctx, act=True) as opened, Departure(opened.client, refs, dependents=False) as departure:
        code, targets = DONE, {}
        for ref in refs:
            try:
                if force:
                    opened.client.get(ref)
                    forget(opened.client, ref)
                else:
                    targets[ref] = uid(opened.client.delete(ref))
            except ApiError as error:
                if not (is_not_found(error) and ignore_not_found):
                    errors.say(errors.sentence(error))
                    code = ERROR
                continue
            print(f"node/{ref.name} {'removed' if force else 'is being removed'}", flush=True)
        return end(opened, departure, targets, patience) or code
