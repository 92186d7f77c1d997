"""Host resources of a lab: packages, cgroup trees, a free subnet, limits and a lock. The other lab modules and the verb
use it.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .layout import LabError

# Debian's name of the package, and one program that only it brings.
_PACKAGES = {
    "podman": "podman",
    "crun": "crun",
    "conmon": "conmon",
    "netavark": "/usr/lib/podman/netavark",
    "aardvark-dns": "/usr/lib/podman/aardvark-dns",
    "catatonit": "catatonit",
    "openssh-server": "sshd",
    "openssh-client": "ssh-keygen",
    "iptables": "iptables",
    "nftables": "nft",
    "iproute2": "ip",
    "dnsmasq-base": "dnsmasq",
    "conntrack": "conntrack",
    "unbound": "unbound",
    "busybox-static": "busybox",
    "wireguard-tools": "wg",
    "wireguard-go": "wireguard-go",
    "docker-registry": "docker-registry",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing_packages() -> list[str]:
    """Debian packages that a lab needs and this machine lacks."""
    return [package for package, program in _PACKAGES.items() if not shutil.which(program, path=SYSTEM_PATH)]


def require_root() -> None:
    """LabError unless this is root on Linux."""
    if sys.platform != "linux":
        raise LabError("A lab needs Linux: its nodes are Linux namespaces.")
    if os.geteuid() != 0:
        raise LabError("A lab needs root: run the command again with sudo.")


def require_packages(install: bool, say: Callable[[str], None]) -> None:
    """LabError when packages are missing; with `install` they are installed instead."""
    missing = missing_packages()
    if not missing:
        return
    # netavark and aardvark-dns are named on purpose: Podman only recommends them.
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if not install:
        raise LabError(f"A lab needs packages that are missing here: {' '.join(command)}")
    if not shutil.which("apt-get", path=SYSTEM_PATH):
        raise LabError(f"There is no apt-get here; install these programs another way: {' '.join(missing)}.")
    say(f"installing {' '.join(missing)}")
    done = subprocess.run(command, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise LabError(f"`{' '.join(command)}` failed: {' '.join(last)}. Try `apt-get update` first.")


@contextlib.contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Turn the system's refusals (a full disk, a read-only cgroup tree) into LabErrors of one sentence."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise LabError(f"{doing} failed: {what}.") from error


def clean_environment() -> dict[str, str]:
    """An environment without the caller's CONTAINERS_*, proxies or secrets."""
    return {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def run(*argv: str, text: str | None = None) -> str:
    """Run a local program to its end, within a minute, and return its output. LabError when it fails."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, env=clean_environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"`{' '.join(argv)}` failed: {error}.") from error
    if done.returncode != 0:
        raise LabError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}.")
    return done.stdout


# --- cgroups ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cgroups:
    """The host's cgroup mounts: `unified` on a pure v2 host, else `controllers` (mount name -> directory)."""

    unified: Path | None
    controllers: dict[str, Path]

    @property
    def trees(self) -> tuple[Path, ...]:
        return (self.unified,) if self.unified else tuple(self.controllers.values())


def cgroups() -> Cgroups:
    """Read the cgroup mounts of this machine. LabError when there are none."""
    controllers: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point, kind = before.split()[4], after.split()[0]
        if kind == "cgroup2" and point == "/sys/fs/cgroup":
            return Cgroups(Path(point), {})
        if kind == "cgroup":
            controllers[Path(point).name] = Path(point)
    if not controllers:
        raise LabError("No cgroups are mounted below /sys/fs/cgroup, and containers need them.")
    return Cgroups(None, controllers)


def make_cgroup(trees: Cgroups, lab: str, machine: str) -> tuple[Path, ...]:
    """Create the cgroup LAB/MACHINE in every tree, with the controllers enabled, and return its directories."""
    made = []
    for tree in trees.trees:
        group = tree / lab / machine
        group.mkdir(parents=True, exist_ok=True)
        if trees.unified:
            wanted = " ".join(f"+{name}" for name in (tree / "cgroup.controllers").read_text().split())
            for parent in (tree, tree / lab):
                (parent / "cgroup.subtree_control").write_text(wanted)
        for parent, child in ((tree, tree / lab), (tree / lab, group)):
            # A cpuset (v1) takes no process before it has CPUs and memory nodes.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not trees.unified and (child / name).exists() and not (child / name).read_text().strip():
                    (child / name).write_text((parent / name).read_text())
        made.append(group)
    return tuple(made)


def remove_cgroup(trees: Cgroups, lab: str) -> None:
    """Remove the lab's cgroups from every tree, once its processes are gone. OSError when one is still busy."""
    for tree in trees.trees:
        for directory, _, _ in os.walk(tree / lab, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)


# --- network and limits ----------------------------------------------------------------------------------------------


def free_octet(taken: set[int]) -> int:
    """A free n for the subnet 10.89.n.0/24: no route of the host touches it and no lab in `taken` has it. LabError when
    there is none."""
    used = _used_networks()
    # From 100 upwards: Podman's own choice for networks on the host begins at 10.89.0.0.
    for octet in itertools.chain(range(100, 256), range(1, 100)):
        if octet not in taken and not _overlaps(octet, used):
            return octet
    raise LabError("No 10.89.n.0/24 is free on this machine; take a lab down first.")


def is_free(octet: int) -> bool:
    """Whether no route of the host touches 10.89.n.0/24."""
    return not _overlaps(octet, _used_networks())


def _used_networks() -> list[ipaddress.IPv4Network]:
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))
    targets = [route.get("dst", "default") for route in routes]
    return [ipaddress.IPv4Network(target, strict=False) for target in targets if target != "default"]


def _overlaps(octet: int, used: list[ipaddress.IPv4Network]) -> bool:
    subnet = ipaddress.IPv4Network(f"10.89.{octet}.0/24")
    return any(subnet.overlaps(network) for network in used)


def hard_limit(which: int, most: int) -> int:
    """The caller's hard limit, at most `most`: the highest limit that a container here can get."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(int(hard), most)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, waiting for it (flock(2): it ends with the process that holds it)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
