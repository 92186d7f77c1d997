"""Lab lifecycle: up, down, status, and stopping, starting and rebooting single nodes. lab/__init__ exports it to the
verb and tests.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from . import image, machine
from .config import host_key, make_key, script
from .host import cgroups, free_octet, is_free, locked, plain_errors, remove_cgroup, require_packages, require_root
from .layout import (
    MAX_LINKS,
    MAX_NODES,
    SSH_PORT,
    Lab,
    LabError,
    LabNode,
    Machine,
    MachineStatus,
    Plan,
    load_plan,
    plan_path,
)

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """The default progress callback: prints nothing."""


def up(
    name: str = "lab",
    nodes: int | None = None,
    *,
    root: Path,
    links: int | None = None,
    install: bool = False,
    say: Say = _silent,
) -> Lab:
    """Bring up a lab of `nodes` nodes (3 unless it exists already), repair it, or add missing nodes. With two `links`
    every other node is on a second link, behind a router.

    Idempotent. A lab never shrinks: it keeps its nodes and links. LabError says what is in the way.
    """
    if nodes is not None and not 1 <= nodes <= MAX_NODES:
        raise LabError(f"A lab has 1 to {MAX_NODES} nodes, not {nodes}.")
    if links is not None and not 1 <= links <= MAX_LINKS:
        raise LabError(f"A lab has 1 to {MAX_LINKS} links, not {links}.")
    require_root()
    require_packages(install, say)
    with plain_errors(f"Bringing up the lab {name}"), _only_one(root):
        plan = _switch_up(name, nodes, links, root, say)
        wanted = plan.machines[1:]
        with ThreadPoolExecutor(8) as pool:
            # The images are read while the namespaces are made; both are needed before the first pull.
            images = pool.submit(image.build, script("web.pl"))
            broken = [node for node, ready in pool.map(lambda m: (m, machine.look(m).ready), wanted) if not ready]
            if broken:
                say(f"starting {', '.join(node.name for node in broken)}")
            _start(broken, plan, pool)
            if image.push(plan.registry, images.result()):
                say("put the images into the registry")
            list(pool.map(machine.wait_until_ready, broken))
            list(pool.map(machine.pull_pause_image, wanted))
        return _lab(plan)


def down(name: str, root: Path, say: Say = _silent) -> None:
    """Stop the lab and remove everything of it. No lab, or half of one, is fine."""
    directory = plan_path(name, root)
    if not directory.exists():
        return
    require_root()
    with plain_errors(f"Taking down the lab {name}"), _only_one(root):
        plan = load_plan(name, root)
        if plan is None:
            if directory.exists():
                _clear_unwritten(directory)
            return
        say(f"ending {name}")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(machine.stop, reversed(plan.machines)))
        machine.disconnect_host(plan)
        _remove_cgroups(plan)
        # The record goes last: an interrupted removal is taken up again by the next `down`.
        for entry in directory.iterdir():
            if entry.name != "lab.json":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.rmtree(directory)


def load(name: str, root: Path) -> Lab | None:
    """The current state of the lab, None when there is none."""
    plan = load_plan(name, root)
    return None if plan is None or not _complete(plan) else _lab(plan)


def status(name: str, root: Path) -> tuple[MachineStatus, ...]:
    """The observed state of the registry and every node; empty when there is no such lab."""
    plan = load_plan(name, root)
    if plan is None:
        return ()
    with ThreadPoolExecutor(16) as pool:
        return tuple(pool.map(machine.look, plan.machines))


def images(name: str, root: Path) -> list[str]:
    """Names of the images that manifests can use in this lab. LabError when there is no such lab."""
    _plan_of(name, root)
    return list(image.WEB_IMAGES)


def stop_node(name: str, node: str, root: Path) -> None:
    """Power a node off: all its processes die at once; its storage stays."""
    found = _node_of(name, node, root)
    with plain_errors(f"Stopping {node}"), _only_one(root):
        machine.stop(found)


def start_node(name: str, node: str, root: Path) -> LabNode:
    """Start a stopped node and wait until it is ready. Idempotent."""
    found = _node_of(name, node, root)
    with plain_errors(f"Starting {node}"), _only_one(root), ThreadPoolExecutor(1) as pool:
        if not machine.look(found).ready:
            _start([found], found.lab, pool)
            machine.wait_until_ready(found)
    return _lab_node(found)


def reboot(name: str, node: str, root: Path) -> LabNode:
    """Power a node off and on again. /run and the boot id are new, its storage is kept."""
    stop_node(name, node, root)
    return start_node(name, node, root)


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Lock against concurrent changes to the labs below a root."""
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        yield


# --- the steps -------------------------------------------------------------------------------------------------------


def _switch_up(name: str, nodes: int | None, links: int | None, root: Path, say: Say) -> Plan:
    """Save the plan, choose the lab's subnet and start its switch."""
    directory = plan_path(name, root)
    # The subnet is free until our link has it, so labs choose one at a time on this machine, whatever their root.
    with locked(Path("/run")):
        plan = load_plan(name, root)
        if plan is None:
            if directory.exists():
                _clear_unwritten(directory)
            directory.mkdir(mode=0o700)
            plan = Plan(name, directory, free_octet(_taken(root)), nodes or 3, links or 1)
            say(f"{name}: {plan.nodes} nodes in {plan.subnet}")
        elif links not in (None, plan.links):
            raise LabError(
                f"The lab {name} has {plan.links} link{'s' if plan.links > 1 else ''} and keeps what it has: run "
                f"`ktool lab down --name {name}` first."
            )
        elif nodes is not None and nodes > plan.nodes:
            plan = replace(plan, nodes=nodes)
        plan.save()
        make_key(plan.identity, f"ktool-lab-{name}")
        switch = plan.machines[0]
        if not machine.look(switch).ready:
            machine.stop(switch)
            machine.disconnect_host(plan)
            if not is_free(plan.octet):
                raise LabError(
                    f"{plan.subnet} has belonged to the lab {name} and is now used by something else on this machine: "
                    f"free it, or run `ktool lab down --name {name}` and begin anew."
                )
            boot = machine.prepare(switch, cgroups())
            machine.connect_switch(plan)
            boot()
            # Nodes that outlived their switch have lost their cable with it.
            for node in plan.machines[1:]:
                machine.stop(node)
    machine.wait_until_ready(switch)
    return plan


def _clear_unwritten(directory: Path) -> None:
    """Remove the remains of an `up` that was interrupted before it saved its plan. LabError when they belong to
    something else."""
    (directory / "lab.json.new").unlink(missing_ok=True)
    try:
        directory.rmdir()
    except OSError:
        raise LabError(f"{directory} is not a lab; it is left alone.") from None


def _start(nodes: list[Machine], plan: Plan, pool: ThreadPoolExecutor) -> None:
    if not nodes:
        return
    trees = cgroups()
    if not machine.pid_of(plan.machines[0]):
        raise LabError(f"The switch of lab {plan.name} is not running: run `ktool lab up --name {plan.name}` first.")
    boots = list(pool.map(lambda node: machine.prepare(node, trees), nodes))
    machine.connect_nodes(plan, nodes)
    for boot in boots:
        boot()


def _remove_cgroups(plan: Plan) -> None:
    """Remove the cgroups, with retries: one stays busy for a moment after its last process is gone."""
    trees, deadline = cgroups(), time.monotonic() + 10
    while True:
        try:
            return remove_cgroup(trees, plan.cgroup)
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"The cgroup {error.filename} cannot be removed: {error.strerror}.") from error
            time.sleep(0.02)


def _taken(root: Path) -> set[int]:
    """Subnets of other labs below the same root, running or not."""
    plans = (load_plan(path.parent.name, root) for path in root.glob("*/lab.json"))
    return {plan.octet for plan in plans if plan is not None}


def _complete(plan: Plan) -> bool:
    return all((m.directory / "etc/ssh/ssh_host_ed25519_key.pub").exists() for m in plan.machines if not m.is_switch)


def _lab(plan: Plan) -> Lab:
    nodes = tuple(_lab_node(node) for node in plan.machines if not node.is_switch)
    return Lab(plan.name, nodes, plan.registry, image.WEB_IMAGES, plan.subnet, str(plan.password_file))


def _lab_node(node: Machine) -> LabNode:
    pid = machine.pid_of(node)
    return LabNode(node.name, node.address, SSH_PORT, "root", str(node.lab.identity), host_key(node), pid)


def _plan_of(name: str, root: Path) -> Plan:
    plan = load_plan(name, root)
    if plan is None:
        raise LabError(f"There is no lab named {name}: run `ktool lab up --name {name}` first.")
    return plan


def _node_of(name: str, node: str, root: Path) -> Machine:
    plan = _plan_of(name, root)
    for one in plan.machines[1:]:
        if one.name == node:
            return one
    names = ", ".join(one.name for one in plan.machines[1:])
    raise LabError(f"The lab {name} has no node {node}; it has {names}.")
