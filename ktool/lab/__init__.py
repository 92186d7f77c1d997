"""Lab: a real multi-node cluster on one Linux machine. Nodes with their own sshd and Podman, a bridge, a registry.

The verb `lab` and the tests use it. A node is a set of namespaces (network, mount, UTS, IPC, PID, cgroup;
namespaces(7)) with a root directory of its own: the host's files below, a tmpfs above. Everything of a lab is below
ROOT/NAME, in one cgroup of its own in every tree, and on one network link of the host; `down` removes all of it.
"""

from .host import missing_packages
from .layout import Lab, LabError, LabNode, MachineStatus
from .lifecycle import down, images, load, reboot, start_node, status, stop_node, up

__all__ = [
    "Lab",
    "LabError",
    "LabNode",
    "MachineStatus",
    "down",
    "images",
    "load",
    "missing_packages",
    "reboot",
    "start_node",
    "status",
    "stop_node",
    "up",
]
