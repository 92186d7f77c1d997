"""Lab model: its values, the plan file on disk and LabError. All lab modules use it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

SSH_PORT = 22
REGISTRY_PORT = 5000
REGISTRY_NAME = "registry.lab"
PRIVATE_PORT = 80  # Podman drops a login where registries.conf sends a name to another host or port
PRIVATE_NAME = "private.lab"
"""The same images behind a login, for trying imagePullSecrets."""
PRIVATE_USER = "lab"
MAX_NODES = 200
MAX_LINKS = 2
_FIRST_NODE = 11  # 10.89.n.1 is the bridge, .2 the host, .11 node 1
_HALF = 128  # where the second link's addresses begin, counted in the same way


class LabError(Exception):
    """One plain sentence for the user, with the likely fix."""


@dataclass(frozen=True)
class LabNode:
    """One node. `host_key` is the type and key of its sshd as in known_hosts; `pid` is its PID 1 seen from the host, 0
    while it is stopped."""

    name: str
    address: str
    port: int
    user: str
    identity: str
    host_key: str
    pid: int


@dataclass(frozen=True)
class Lab:
    """A lab. `registry` is address:port, `images` the names for manifests, `subnet` a CIDR, `password_file` holds the
    password of the user lab at private.lab."""

    name: str
    nodes: tuple[LabNode, ...]
    registry: str
    images: tuple[str, ...]
    subnet: str
    password_file: str = ""


@dataclass(frozen=True)
class MachineStatus:
    """The observed state of one machine. `sshd` and `podman` are None for the registry, `registry` is None for
    nodes."""

    name: str
    running: bool
    pid: int
    address: str
    sshd: bool | None = None
    podman: bool | None = None
    registry: bool | None = None

    @property
    def ready(self) -> bool:
        return self.running and False not in (self.sshd, self.podman, self.registry)


@dataclass(frozen=True)
class Plan:
    """The record of a lab, saved before any part of it is created, so that `down` finds all of it."""

    name: str
    directory: Path
    octet: int
    nodes: int
    links: int = 1

    @property
    def subnet(self) -> str:
        return f"10.89.{self.octet}.0/24"

    @property
    def gateway(self) -> str:
        return self.link_gateway(0)

    @property
    def prefix(self) -> int:
        """Prefix length of each link: one link has the whole subnet, two have a half each."""
        return 23 + self.links

    def link_gateway(self, link: int) -> str:
        """The switch's address on a link; the switch routes between links."""
        return f"10.89.{self.octet}.{link * _HALF + 1}"

    @property
    def host_address(self) -> str:
        return f"10.89.{self.octet}.2"

    @property
    def registry(self) -> str:
        return f"{self.gateway}:{REGISTRY_PORT}"

    @property
    def password_file(self) -> Path:
        """The file with the password of the user `lab` at private.lab."""
        return self.directory / "private-password"

    @property
    def host_link(self) -> str:
        """The name of the one network link on the host. It depends on the root too, so that two labs of one name
        differ."""
        return f"lab-{_short_hash(self.directory)}"

    @property
    def cgroup(self) -> str:
        return f"ktool-lab-{self.name}-{_short_hash(self.directory)}"

    @property
    def identity(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def machines(self) -> tuple[Machine, ...]:
        return tuple(Machine(self, n) for n in range(self.nodes + 1))

    def save(self) -> None:
        record = {"name": self.name, "octet": self.octet, "nodes": self.nodes, "links": self.links}
        write_file(self.directory / "lab.json", json.dumps(record, indent=2) + "\n")


@dataclass(frozen=True)
class Machine:
    """Machine 0 is the switch: the bridge and the registry. Machine n is node n."""

    lab: Plan
    number: int

    @property
    def is_switch(self) -> bool:
        return self.number == 0

    @property
    def directory_name(self) -> str:
        return "registry" if self.is_switch else f"node{self.number}"

    @property
    def name(self) -> str:
        """node1 in the lab named "lab", NAME-node1 elsewhere: two labs may serve one cluster."""
        return self.directory_name if self.lab.name == "lab" else f"{self.lab.name}-{self.directory_name}"

    @property
    def directory(self) -> Path:
        return self.lab.directory / self.directory_name

    @property
    def address(self) -> str:
        if self.is_switch:
            return self.lab.gateway
        place = (self.number - 1) // self.lab.links
        return f"10.89.{self.lab.octet}.{self.link_number * _HALF + _FIRST_NODE + place}"

    @property
    def link_number(self) -> int:
        """The link a node is on; nodes alternate between the links."""
        return (self.number - 1) % self.lab.links

    @property
    def hardware_address(self) -> str:
        """A MAC address that survives reboots, or else neighbours would use the old one until their ARP entry
        expires."""
        return f"02:6b:74:{self.lab.octet:02x}:00:{self.number:02x}"

    @property
    def link(self) -> str:
        """Name of the node's end of its cable to the bridge."""
        return f"node{self.number}"


def plan_path(name: str, root: Path) -> Path:
    """The directory of the lab. LabError when `name` is not a valid lab name."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise LabError(
            f"{name!r} cannot name a lab: use at most 20 lower case letters, digits and dashes, "
            "beginning and ending with a letter or digit."
        )
    return root.absolute() / name


def load_plan(name: str, root: Path) -> Plan | None:
    """The saved plan of a lab, None when there is no such lab. LabError when the file is not one of ktool's."""
    directory = plan_path(name, root)
    path = directory / "lab.json"
    try:
        state = json.loads(path.read_text())
        return Plan(name, directory, int(state["octet"]), int(state["nodes"]), int(state.get("links", 1)))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise LabError("Labs belong to root: run the command again with sudo.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} cannot be read as the record of a lab ({error}).") from error


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file atomically."""
    new = path.with_name(path.name + ".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    new.rename(path)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:8]
