"""Observation of a node: read-only commands, and pure functions that parse their output into the facts of
logic/node/nodeaction.

node/podman/runtime and its helpers call it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ktool.api.marks import (
    CONTAINER,
    POD_CLUSTER,
    POD_HASH,
    POD_IP,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    VOLUMES_IN_MEMORY,
    VOLUMES_ON_DISK,
)
from ktool.api.marks import ZONE_DIRECTORY as DNS
from ktool.logic.network.zone import SERVER
from ktool.logic.node.nodeaction import ContainerFact, NodeInfo, PodFact
from ktool.node.network import linkdevices, nameservers, nftables

_NONE: Mapping[str, Sequence[str]] = {}
_STATES = {"configured": "created", "initialized": "created", "stopped": "exited"}

# --- a node ------------------------------------------------------------------------------------------------------

INFO = (
    "sh",
    "-c",
    r"""
LC_ALL=C; export LC_ALL
echo "podman=$(podman --version 2>/dev/null)" & # it takes as long as all the others
echo "hostname=$(uname -n)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
echo "cpu=$(nproc)"
echo "memory=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
echo "kernel=$(uname -r)"
echo "os=$(. /etc/os-release 2>/dev/null; printf %s "${PRETTY_NAME:-Linux}")"
echo "architecture=$(uname -m)"
echo "clock=$(date +%s.%N)"
ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/address=\1/p'
uplink=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
cat "/sys/class/net/${uplink:-none}/mtu" 2>/dev/null | sed 's/^/mtu=/'
ip -4 -o address show scope global 2>/dev/null | while read -r _ device _ address _; do
    case $device in ktool*|podman*|cni-*|docker*|veth*) ;; *) echo "address=${address%%/*}" ;; esac
done
wait
""",
)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


def info(text: str) -> NodeInfo:
    """NodeInfo from the output of INFO. Raises ValueError for any other text."""
    values: dict[str, str] = {}
    addresses: list[str] = []
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if not separator:
            continue
        if key == "address" and value not in addresses:
            addresses.append(value)
        elif key != "address":
            values[key] = value
    try:
        version = values["podman"].split()
        return NodeInfo(
            hostname=values["hostname"],
            machine_id=values["machine_id"],
            boot_id=values["boot_id"],
            cpu=int(values["cpu"]),
            memory=int(values["memory"]) * 1024,
            kernel=values["kernel"],
            os_image=values["os"],
            architecture=_ARCHITECTURES.get(values["architecture"], values["architecture"]),
            runtime_version=f"podman://{version[-1]}" if version else "",
            addresses=tuple(addresses),
            clock=float(values["clock"]),
            mtu=int(values.get("mtu") or 0),
        )
    except KeyError as error:
        raise ValueError(f"the node did not say its {error.args[0]}") from None


# --- what changes rarely -----------------------------------------------------------------------------------------

SETTLED = (
    "sh",
    "-c",
    r"""
cat /proc/sys/kernel/random/boot_id
echo "forward $(cat /proc/sys/net/ipv4/ip_forward)"
nft list table ip ktool 2>/dev/null | sed -n \
    -e 's/^[[:space:]]*ip saddr \([0-9./]*\) .*snat to ip saddr.*/snat \1/p' \
    -e 's/.*oifname "ktool-\*".* size set rt mtu.*/clamp/p'
for directory in "$1"/* "$2"/*; do
    [ -d "$directory" ] || continue
    echo "pod ${directory##*/}"
    [ -f "$directory/hashes" ] && sed 's/^/volume /' "$directory/hashes"
done
dns=$3 at=$4
"""
    + linkdevices.SEEN
    + nftables.SEEN
    + nameservers.SEEN
    + "exit 0\n",
    "ktool",
    VOLUMES_ON_DISK,
    VOLUMES_IN_MEMORY,
    DNS,
    SERVER,
)


class Settled:
    """The slowly changing facts, from the output of SETTLED: boot id, the subnets whose traffic is forwarded with its
    source kept, tunnels and routes, content hashes of volume directories, and the hashes of the service rules and
    network policies in force and of the running DNS zone."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        self.boot_id = lines[0].strip() if lines else ""
        self.forwarding = False
        self.kept: set[str] = set()
        self.clamped = False
        self.volumes: dict[str, dict[str, str]] = {}
        self.rules = ""
        self.policies = ""
        self.zone = ""
        uid = ""
        for line in lines[1:]:
            word, _, rest = line.partition(" ")
            if word == "forward":
                self.forwarding = rest.strip() == "1"
            elif word == "snat":
                self.kept.add(rest.strip())
            elif word == "clamp":
                self.clamped = True
            elif word == "rules":
                self.rules = rest.strip()
            elif word == "policies":
                self.policies = rest.strip()
            elif word == "zone":
                self.zone = rest.strip()
            elif word == "pod":
                uid = rest
                self.volumes.setdefault(uid, {})
            elif word == "volume":
                name, _, digest = rest.partition(" ")
                self.volumes[uid][name] = digest
        self.links, self.key, self.met = linkdevices.seen(lines[1:])


@dataclass(frozen=True)
class PodNetwork:
    """The pod network on a node. `subnet` is "" where it must be made or repaired; `trouble` says why."""

    subnet: str
    trouble: str = ""


def pod_network(network: Mapping[str, Any] | None, settled: Settled) -> PodNetwork:
    """From Podman's description of the network and the settings in force."""
    if network is None:
        return PodNetwork("", "missing")
    subnets = network.get("subnets") or [{}]
    subnet = str(subnets[0].get("subnet", ""))
    if not settled.forwarding:
        return PodNetwork("", "IP forwarding is off")
    if subnet not in settled.kept:  # a firewall reload drops it
        return PodNetwork("", "the rule that keeps pod addresses is gone")
    if not settled.clamped:
        return PodNetwork("", "the rule for connections through tunnels is gone")
    return PodNetwork(subnet)


# --- pods --------------------------------------------------------------------------------------------------------


def seconds(value: Any) -> float:
    """Epoch seconds of a Podman time: an integer, or RFC 3339 with up to nine decimals. 0 for Go's zero time."""
    if isinstance(value, int | float):
        return float(value) if value > 0 else 0.0
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(value or "")).replace("Z", "+00:00")
    if not text or text.startswith("0001-"):
        return 0.0
    return datetime.fromisoformat(text).timestamp()


def state(text: str) -> str:
    """Podman's state in the terms of ContainerFact."""
    return _STATES.get(text, text)


def container_key(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """A change key of a list entry: it differs after anything that an inspect would show."""
    return (state(entry["State"]), entry.get("Pid"), entry.get("StartedAt"), entry.get("ExitedAt"))


def needs_inspect(entry: Mapping[str, Any], before: tuple[Any, ...] | None, ours: bool) -> bool:
    """Whether the list entry alone is not enough: the container has ended, or may have been started more than once.
    `before` is its key at the last observation. `ours`: this process made it and Podman reported no end of it since, so
    that a container in its first run needs no inspect."""
    now = container_key(entry)
    if now[0] == "created":
        return False
    return not (ours and now[0] == "running" and (before is None or before[0] == "created"))


def image_id(entry: Mapping[str, Any], digests: Mapping[str, Sequence[str]]) -> str:
    """The image of a container by its registry digest, as Kubernetes names it; by its local id where it came from no
    registry. `digests`: image id -> RepoDigests."""
    own, image = str(entry.get("ImageID", "")), str(entry.get("Image", ""))
    repository = image.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    return next((digest for digest in digests.get(own, ()) if digest.startswith(f"{repository}@")), own)


def container(
    entry: Mapping[str, Any], details: Mapping[str, Any] | None, digests: Mapping[str, Sequence[str]]
) -> ContainerFact:
    """A container from its entry in containers/json and, where there was one, its inspect."""
    name = str((entry.get("Labels") or {}).get(CONTAINER, ""))
    common: dict[str, Any] = {
        "name": name,
        "id": str(entry["Id"]),
        "image": str(entry.get("Image", "")),
        "image_id": image_id(entry, digests),
    }
    if details is None:
        return ContainerFact(
            **common,
            state=state(str(entry["State"])),
            exit_code=int(entry.get("ExitCode") or 0),
            started_at=seconds(entry.get("StartedAt")),
            finished_at=seconds(entry.get("ExitedAt")) if entry.get("Exited") else 0.0,
        )
    told = details.get("State") or {}
    return ContainerFact(
        **common,
        state=state(str(told.get("Status", entry["State"]))),
        exit_code=int(told.get("ExitCode") or 0),
        started_at=seconds(told.get("StartedAt")),
        finished_at=seconds(told.get("FinishedAt")),
        restarts=int(details.get("RestartCount") or 0),
        oom_killed=bool(told.get("OOMKilled")),
        before=details.get("Before"),
        error=str(told.get("Error") or ""),
    )


@dataclass(frozen=True)
class Sandbox:
    """A Podman pod, from its own list entry or from that of its infra container."""

    id: str
    labels: Mapping[str, str]
    infra: str
    created: str


def sandboxes(listed: Iterable[Mapping[str, Any]]) -> list[Sandbox]:
    """Sandboxes from pods/json."""
    found = []
    for pod in listed:
        own = pod.get("InfraId")
        infra = next((str(c["Status"]) for c in pod.get("Containers") or () if c["Id"] == own), "")
        found.append(Sandbox(str(pod["Id"]), pod.get("Labels") or {}, infra, str(pod.get("Created"))))
    return found


def sandboxes_of_infra(containers: Iterable[Mapping[str, Any]]) -> list[Sandbox]:
    """Sandboxes from containers/json alone: an infra container carries the labels of its pod."""
    return [
        Sandbox(str(entry["Pod"]), entry.get("Labels") or {}, str(entry["State"]), str(entry.get("Created")))
        for entry in containers
        if entry.get("IsInfra")
    ]


def pods(
    found: Iterable[Sandbox],
    containers: Iterable[Mapping[str, Any]],
    details: Mapping[str, Mapping[str, Any]],
    digests: Mapping[str, Sequence[str]] = _NONE,
) -> tuple[PodFact, ...]:
    """The pods of this cluster, from their sandboxes, containers/json and the inspects by container id; sorted by
    uid."""
    by_pod: dict[str, list[ContainerFact]] = {}
    for entry in containers:
        if not entry.get("IsInfra"):
            by_pod.setdefault(str(entry.get("Pod", "")), []).append(
                container(entry, details.get(str(entry["Id"])), digests)
            )
    facts = [
        PodFact(
            uid=str(pod.labels.get(POD_UID, "")),
            namespace=str(pod.labels.get(POD_NAMESPACE, "")),
            name=str(pod.labels.get(POD_NAME, "")),
            id=pod.id,
            hash=str(pod.labels.get(POD_HASH, "")),
            ip=str(pod.labels.get(POD_IP, "")),
            infra=state(pod.infra),
            containers=tuple(sorted(by_pod.get(pod.id, ()), key=lambda fact: fact.name)),
            created_at=seconds(pod.created),
        )
        for pod in found
    ]
    return tuple(sorted(facts, key=lambda fact: (fact.uid, fact.id)))


_WORTH_A_LOOK = ("start", "died", "oom", "restart", "stop", "kill", "remove", "pause", "unpause")
"""Events after which something of a container is not as it was. The others, three for each container that is made and
two for each probe that is a command, are not worth their way here."""


def label_filter(cluster: str, **others: Sequence[str]) -> str:
    """The `filters` parameter that selects this cluster's pods or containers, narrowed by `others`."""
    return json.dumps({"label": [f"{POD_CLUSTER}={cluster}"], **others})


def events_filter(cluster: str) -> str:
    """The `filters` parameter for the events that call for an observation."""
    return label_filter(cluster, event=_WORTH_A_LOOK)
