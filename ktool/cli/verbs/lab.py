"""`ktool lab`: a real cluster of several nodes on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ERROR
from ktool.api.marks import LAB
from ktool.api.obj import name
from ktool.api.pod import node_of
from ktool.api.ref import NODE, POD, Ref
from ktool.cli.node.enroll import Newcomer, enroll, forget
from ktool.cli.plumbing import errors, options
from ktool.cli.plumbing.command import Verb, examples, session, verbs
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.present.table import Table

if TYPE_CHECKING:
    from ktool.lab import Lab, MachineStatus
    from ktool.registry.client import Client

app = verbs("A real cluster of several nodes on this machine, to try things.", no_args_is_help=True)


UP = """
ktool lab up                          # three nodes, registered with this cluster
ktool lab up --nodes 5 --install      # installs missing Debian packages first
ktool lab up --name blue              # a second one, side by side
ktool lab up --links 2                # nodes on two links with a router between: see `ktool network set vxlan`
"""
STATUS = """
ktool lab status
"""
DOWN = """
ktool lab down
"""
IMAGES = """
ktool lab images
ktool lab images -o name
"""

LabName = Annotated[str, typer.Option("--name", metavar="NAME", help="Which lab.")]


@app.callback()
def lab() -> None:
    """A real cluster of several nodes on this machine, to try things.

    Each node has its own network, sshd and Podman; an image registry with demo images is beside them. Needs root.
    """


@app.command("up", cls=Verb, epilog=examples(UP))
def up(
    ctx: typer.Context,
    lab_name: LabName = "lab",
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", help="How many nodes; 3 at first.", show_default=False)
    ] = 0,
    links: Annotated[
        int,
        typer.Option(
            "--links", metavar="N", help="2: every other node is behind a router; 1 at first.", show_default=False
        ),
    ] = 0,
    install: Annotated[bool, typer.Option("--install", help="Install missing Debian packages.")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for the nodes.")
    ] = "2m",
) -> int:
    """Bring the lab up and make its nodes nodes of this cluster. Harmless when it is up already."""
    from ktool import app as composition
    from ktool import lab as labs

    patience = seconds(timeout, "--timeout")
    composition.home().mkdir(mode=0o700, parents=True, exist_ok=True)
    made = labs.up(
        lab_name, nodes or None, links=links or None, root=composition.lab_root(), install=install, say=errors.say
    )
    with session(ctx, act=True) as opened:
        refs = enroll(opened.client, newcomers(made), print, again=True)
        code = converge(opened, refs, wait=True, timeout=patience)
    if code == DONE:
        print(f"lab {made.name} is up: {len(made.nodes)} nodes in {made.subnet}; images: {', '.join(made.images)}")
    return code


def newcomers(made: Lab) -> list[Newcomer]:
    """The lab's nodes as machines to enroll. Their host keys are known, as the lab made them."""
    return [
        Newcomer(
            node.name,
            f"ssh://{node.user}@{node.address}:{node.port}",
            identity=node.identity,
            host_key=node.host_key,
            labels={LAB: made.name},
        )
        for node in made.nodes
    ]


@app.command("status", cls=Verb, epilog=examples(STATUS))
def status(lab_name: LabName = "lab") -> int:
    """Show whether the machines of the lab run. Exit code 1 where one does not."""
    from ktool import app as composition
    from ktool import lab as labs

    found = labs.status(lab_name, composition.lab_root())
    if not found:
        errors.say(
            f"There is no lab {lab_name}; `ktool lab up{'' if lab_name == 'lab' else f' --name {lab_name}'}` makes it"
        )
        return ERROR
    table = Table(["NAME", "STATUS", "PID", "ADDRESS", "SSHD", "PODMAN", "REGISTRY"])
    print("\n".join(table.lines([_row(machine) for machine in found])))
    return DONE if all(machine.ready for machine in found) else ERROR


def _row(machine: MachineStatus) -> list[str]:
    state = "Ready" if machine.ready else "NotReady" if machine.running else "Stopped"
    parts = [{None: "-", True: "up", False: "down"}[part] for part in (machine.sshd, machine.podman, machine.registry)]
    return [machine.name, state, str(machine.pid or "-"), machine.address, *parts]


@app.command("down", cls=Verb, epilog=examples(DOWN))
def down(ctx: typer.Context, lab_name: LabName = "lab") -> int:
    """End the lab: its nodes leave the cluster, and nothing of it stays on this machine."""
    from ktool import app as composition
    from ktool import lab as labs

    with session(ctx, act=False) as opened:
        listing = opened.client.list(NODE, labels=f"{LAB}={lab_name}")
    if listing.items:
        with session(ctx, act=True) as opened:
            for node in listing.items:
                forget(opened.client, Ref(NODE, "", name(node)))
                print(f"node/{name(node)} removed", flush=True)
            _without_pods(opened.client, {name(node) for node in listing.items})
    labs.down(lab_name, composition.lab_root(), errors.say)
    print(f"lab {lab_name} is down")
    return DONE


def _without_pods(client: Client, nodes: set[str]) -> None:
    """Wait until the pods of nodes that are gone are gone too: a new lab has nodes of the same names."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if not any(node_of(pod) in nodes for pod in client.list(POD).items):
            return
        time.sleep(0.1)


@app.command("images", cls=Verb, epilog=examples(IMAGES))
def images(
    lab_name: LabName = "lab",
    output_format: Annotated[
        str, typer.Option("-o", "--output", metavar="FORMAT", help="name: without a header.")
    ] = "",
) -> int:
    """List the images of the lab's registry as manifests name them."""
    from ktool import app as composition
    from ktool import lab as labs

    options.choice(output_format, ("", "name"), "-o")
    found = labs.images(lab_name, composition.lab_root())
    print("\n".join(found if output_format == "name" else ["IMAGE", *found]))
    return DONE
