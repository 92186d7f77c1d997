"""Machines of a lab: namespaces, veth cables, readiness checks, start and stop. lab/lifecycle drives them."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from . import proc
from .config import write_node, write_switch
from .host import Cgroups, clean_environment, make_cgroup, run
from .image import PAUSE
from .layout import PRIVATE_PORT, REGISTRY_PORT, SSH_PORT, LabError, Machine, MachineStatus, Plan

_BRIDGES = ("lab", "lab2")
"""One for each link."""


def pid_of(machine: Machine) -> int:
    """The machine's PID 1 seen from the host, 0 when it does not run."""
    return proc.running_pid(machine.directory / "init")


def prepare(machine: Machine, trees: Cgroups) -> Callable[[], None]:
    """Write the machine's files and create its namespaces, after clearing the remains of a dead predecessor.

    The machine's first process then waits for its network: call the returned function to let it boot.
    """
    stop(machine)
    machine.directory.mkdir(mode=0o700, exist_ok=True)
    (write_switch if machine.is_switch else write_node)(machine)
    groups = make_cgroup(trees, machine.lab.cgroup, machine.directory_name)
    places = "unified" if trees.unified else " ".join(f"{g.parent.parent.name}={g}" for g in groups)
    argv = [f"{machine.directory}/enter.sh", str(machine.directory), " ".join(map(str, groups))]
    argv += [f"{machine.directory}/switch.sh"] if machine.is_switch else [f"{machine.directory}/node.sh", places]
    gate, gate_here = os.pipe()
    with open(gate, "rb") as stdin, open(machine.directory / "log", "ab") as log:
        # A session of its own, and no child of ours: it outlives us, and no zombie of it stays with us.
        command = ["setsid", "--fork", "sh", *argv]
        subprocess.run(command, stdin=stdin, stdout=log, stderr=log, cwd="/", env=clean_environment())
    boot = _opener(gate_here)
    init = proc.wait_until_recorded(machine.directory / "init", machine.directory / "holder")
    if not init:
        raise LabError(f"{machine.name} does not start: {last_words(machine)}")
    if trees.unified:
        # v2 lets no process live beside child groups that have controllers: both step down into one of their own.
        inner = groups[0] / "init"
        inner.mkdir(exist_ok=True)
        for pid in (proc.running_pid(machine.directory / "holder"), init):
            (inner / "cgroup.procs").write_text(str(pid))
    return boot


def _opener(gate: int) -> Callable[[], None]:
    """A function that lets a waiting machine boot. If this process dies first, the machine gives up."""

    def open_gate() -> None:
        with contextlib.suppress(BrokenPipeError):  # it died meanwhile: whoever waits for its answers will say so
            os.write(gate, b"go\n")
        os.close(gate)

    return open_gate


def stop(machine: Machine) -> None:
    """Power the machine off. Its storage stays. Idempotent."""
    proc.end(machine.directory / "init")
    proc.end(machine.directory / "holder")


# --- cables ----------------------------------------------------------------------------------------------------------


def connect_switch(plan: Plan) -> None:
    """Create the bridges, and the link between the first one and the host."""
    switch = pid_of(plan.machines[0])
    # Its own address, because a bridge otherwise takes one of its ports' and changes it whenever a node reboots.
    # The bridge lives in a network namespace of its own, so no firewall of the host can drop what nodes say to each
    # other. What leaves the lab is refused at once instead of waiting for a timeout: nodes have no internet.
    lines = ["link set lo up"]
    for link in range(plan.links):
        lines += [
            f"link add {_BRIDGES[link]} address {plan.machines[0].hardware_address} type bridge",
            f"address add {plan.link_gateway(link)}/{plan.prefix} dev {_BRIDGES[link]}",
            f"link set {_BRIDGES[link]} up",
        ]
    lines += [
        "route add unreachable default",
        f"link add host type veth peer name {plan.host_link} netns {os.getpid()}",
        f"link set host master {_BRIDGES[0]} up",
    ]
    _ip_inside(switch, "\n".join([*lines, ""]))
    lines = [f"address add {plan.host_address}/{plan.prefix} dev {plan.host_link}", f"link set {plan.host_link} up"]
    lines += [f"route add {plan.subnet} via {plan.gateway} dev {plan.host_link}"] if plan.links > 1 else []
    run("ip", "-batch", "-", text="\n".join([*lines, ""]))


def disconnect_host(plan: Plan) -> None:
    """Remove the lab's link from the host, if it is there."""
    if Path("/sys/class/net", plan.host_link).exists():
        with contextlib.suppress(LabError):  # its other end may have died just now and taken it along
            run("ip", "link", "delete", plan.host_link)
        if Path("/sys/class/net", plan.host_link).exists():
            raise LabError(f"The network link {plan.host_link} cannot be removed.")


def connect_nodes(plan: Plan, nodes: list[Machine]) -> None:
    """Connect each of these nodes to its bridge."""
    switch = pid_of(plan.machines[0])
    present = _ip_inside(switch, "link show\n")
    lines = []
    for node in nodes:
        if f" {node.link}@" in present:  # the cable of the machine that ended just now; the kernel is not done with it
            lines.append(f"link delete {node.link}")
        lines += [
            f"link add {node.link} type veth peer name eth0 address {node.hardware_address} netns {pid_of(node)}",
            f"link set {node.link} master {_BRIDGES[node.link_number]} up",
        ]
    try:
        _ip_inside(switch, "\n".join(lines) + "\n")
    except LabError:
        # The kernel removed an old cable between our look and our delete: the second look sees it gone.
        if not any(line.startswith("link delete") for line in lines):
            raise
        _ip_inside(switch, "\n".join(line for line in lines if not line.startswith("link delete")) + "\n")


def _ip_inside(pid: int, batch: str) -> str:
    return run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-", text=batch)


# --- answers ---------------------------------------------------------------------------------------------------------


def look(machine: Machine) -> MachineStatus:
    """The observed state of the machine. Each question takes 2 seconds at most when nothing answers."""
    pid = pid_of(machine)
    if machine.is_switch:
        return MachineStatus(machine.name, pid != 0, pid, machine.address, registry=pid != 0 and _registry(machine))
    # Podman first: while a machine boots, a packet to its address would be lost and sent again a second later.
    podman = pid != 0 and _podman_answers(machine)
    sshd = pid != 0 and (podman or _has_address(pid)) and _sshd_answers(machine)
    return MachineStatus(machine.name, pid != 0, pid, machine.address, sshd=sshd, podman=podman)


def _has_address(pid: int) -> bool:
    """Whether the boot has set up the machine's routes (proc(5): /proc/net/route has a header line)."""
    try:
        return len(Path(f"/proc/{pid}/net/route").read_text().splitlines()) > 2
    except OSError:
        return False


def _sshd_answers(machine: Machine) -> bool:
    """Whether an SSH server sends its banner at the node's address."""
    try:
        with socket.create_connection((machine.address, SSH_PORT), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _registry(machine: Machine) -> bool:
    """Whether both registries serve their API, and the private one refuses requests without a login."""
    return _status(machine, REGISTRY_PORT) == 200 and _status(machine, PRIVATE_PORT) == 401


def _status(machine: Machine, port: int) -> int:
    connection = http.client.HTTPConnection(machine.address, port, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _podman_answers(machine: Machine) -> bool:
    """Whether the node's Podman answers on its API socket."""
    try:
        return _podman(machine, "GET", "/_ping", 2.0)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def wait_until_ready(machine: Machine, timeout: float = 30.0) -> None:
    """Wait until everything on the machine answers. LabError, with the end of its log, on timeout."""
    deadline = time.monotonic() + timeout
    while True:
        found = look(machine)
        if found.ready:
            return
        if not found.running or time.monotonic() > deadline:
            raise LabError(f"{machine.name} does not come up: {last_words(machine)}")
        time.sleep(0.02)


def pull_pause_image(machine: Machine) -> None:
    """Pull the image of pods' infra containers, so that the first pod of a node starts as fast as later ones."""
    name = quote(PAUSE, safe="")
    try:
        status, text = _podman(machine, "GET", f"/v4.0.0/libpod/images/{name}/exists", 10.0)
        if status == 404:
            status, text = _podman(machine, "POST", f"/v4.0.0/libpod/images/pull?reference={name}&quiet=true", 60.0)
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"Podman on {machine.name} does not answer: {error!r}.") from error
    if status >= 300 or b'"error"' in text:
        raise LabError(f"{machine.name} cannot pull {PAUSE}: {text.decode(errors='replace').strip()[:300]}")


def last_words(machine: Machine) -> str:
    """The end of the machine's log, on one line."""
    path = machine.directory / "log"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return f"{' / '.join(lines[-3:]) or 'it said nothing'} (log: {path})"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("d", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _podman(machine: Machine, method: str, path: str, timeout: float) -> tuple[int, bytes]:
    """One request to the node's Podman, through the node's root directory in /proc."""
    connection = _UnixConnection(f"/proc/{pid_of(machine)}/root/run/podman/podman.sock", timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
