"""NodeActions and NodeFacts: what can be done on a node, and what can be observed there, as frozen values.

`logic/plan/nodeplan` turns wanted pods and NodeFacts into NodeActions; a Runtime (node/podman/runtime,
node/simulated/runtime) performs them one by one and reports an Outcome; nodeplane/ drives both. No value here knows SSH
or HTTP; a payload is the JSON body of a Podman call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ktool.api.masked import Masked
from ktool.logic.network.links import Links
from ktool.logic.node.probecalls import Call, Handler
from ktool.logic.node.volume import Volume

# --- what is seen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """The end of a container's run: `at` in epoch seconds."""

    exit_code: int
    at: float
    oom_killed: bool = False


@dataclass(frozen=True)
class ContainerFact:
    """One container of a pod. `name` is its name in the Pod; times are epoch seconds, 0 for never. `state` is Podman's:
    created, running, paused, exited, stopping, removing. `exit_code` and `oom_killed` belong to the last run that
    ended, also while another one runs; `before` is the end of the run before that, if known. `restarts` counts Podman's
    own restarts since the container was last started by the control plane."""

    name: str
    id: str
    state: str
    image: str = ""
    image_id: str = ""
    exit_code: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    restarts: int = 0
    oom_killed: bool = False
    before: Ended | None = None
    error: str = ""


@dataclass(frozen=True)
class PodFact:
    """One Podman pod with this cluster's labels. `ip` is its allocated address ("" for host network); `hash` the spec
    hash it was made from; `infra` the state of its infra container."""

    uid: str
    namespace: str
    name: str
    id: str
    hash: str
    ip: str
    infra: str
    containers: tuple[ContainerFact, ...] = ()
    created_at: float = 0.0


@dataclass(frozen=True)
class NodeFacts:
    """The observation of a node: everything a plan may know about it. `boot_id` changes with each boot. `volumes` maps
    pod uid -> volume name -> the content hash written there."""

    pods: tuple[PodFact, ...] = ()
    boot_id: str = ""
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    network: str = ""
    network_trouble: str = ""
    """Why `network` is empty although a node has, or should have, one."""
    links: Links = field(default_factory=Links)
    """The present tunnels and routes to pods of other nodes."""
    key: str = ""
    """The public half of the node's WireGuard key; "" where it has none."""
    met: frozenset[str] = frozenset()
    """The keys of nodes that this one has talked to by WireGuard."""
    rules: str = ""
    """The hash of the service rules in force; "" where there are none, or they do not work."""
    policies: str = ""
    """The hash of the network policies in force; "" where there are none, or they do not work."""
    zone: str = ""
    """The hash of what the node's name server answers from; "" where none runs."""


@dataclass(frozen=True)
class NodeInfo:
    """A node's properties, read when it is added and at each connect. cpu in cores, memory in bytes."""

    hostname: str
    machine_id: str
    boot_id: str
    cpu: int
    memory: int
    kernel: str
    os_image: str
    architecture: str
    runtime_version: str
    addresses: tuple[str, ...] = ()
    clock: float = 0.0
    mtu: int = 0
    """Of the link that other machines are reached by; 0 where there is none."""


# --- what is done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnsureNetwork:
    """Create or repair the pod network with this subnet, and enable forwarding."""

    subnet: str


@dataclass(frozen=True)
class SetLinks:
    """Set the node's tunnels and routes to exactly these (logic/network/links). A missing WireGuard key is created."""

    links: Links

    @property
    def hash(self) -> str:
        return self.links.hash


@dataclass(frozen=True)
class SetRules:
    """Set the nftables table for Services to exactly this (logic/network/balance); `hash` names it. `flows` are the
    endpoints that UDP flows may keep: "ADDRESS:PORT" of a service, or ":PORT" of the node itself -> "ADDRESS:PORT"."""

    text: str
    hash: str
    flows: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SetPolicies:
    """Set the nftables table for NetworkPolicies to exactly this (logic/network/policy); `hash` names it. Both are ""
    for no table. `pods`: the uids of the pods it isolates, none of which may run without it."""

    text: str
    hash: str
    pods: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SetZone:
    """Set the DNS zone of the node's server to exactly this (logic/network/zone); `hash` names it. `away`: aliases and
    their targets outside the cluster."""

    hosts: str
    config: str
    hash: str
    away: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Credential:
    """A login at a registry: user name and password, or an identity token. `secret` names the Secret it comes from."""

    secret: str
    username: str = ""
    password: Masked | None = None
    token: Masked | None = None


@dataclass(frozen=True)
class EnsureImage:
    """Pull an image. `policy` is Always, IfNotPresent or Never. `logins` are tried in order; an empty list pulls
    anonymously. `missing`: pull secrets that do not exist; `hint`: added to the message where the registry refuses."""

    image: str
    policy: str
    logins: tuple[Credential, ...] = ()
    missing: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class WriteVolumes:
    """Create or update the volume directories of a pod."""

    uid: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class PreparePath:
    """Check or create a hostPath before its pod starts (its `type` in core/v1 HostPathVolumeSource)."""

    path: str
    type: str


@dataclass(frozen=True)
class CreatePod:
    """POST pods/create with this payload (a Podman PodSpecGenerator)."""

    uid: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class CreateContainer:
    """POST containers/create with this payload (a Podman SpecGenerator); its `pod` member names the pod. `secrets`:
    names of the Podman secrets that the payload refers to -> the file on the node that each is read from."""

    uid: str
    container: str
    payload: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeepInMemory:
    """Replace Podman's directory of a container with secret variables by a link to `directory` in a tmpfs, before the
    container starts: its variables are written there at each start. `id` is an id or a name."""

    uid: str
    container: str
    id: str
    directory: str


@dataclass(frozen=True)
class StartPod:
    """Start the pod: its infra container and every container created in it."""

    uid: str
    pod: str


@dataclass(frozen=True)
class StartContainer:
    uid: str
    container: str
    id: str


@dataclass(frozen=True)
class StopContainer:
    """SIGTERM, then SIGKILL after `grace` seconds. Podman will not restart it by itself. `hook` (preStop) runs first
    and counts against the grace. `because` is the message for the user."""

    uid: str
    container: str
    id: str
    grace: int
    hook: Handler | None = None
    because: str = ""


@dataclass(frozen=True)
class StopPod:
    """Stop containers of one pod (ids or names) in parallel: SIGTERM to each, SIGKILL to those that still run after
    `grace` seconds (0: at once). Podman will not restart them by itself. Ended and missing containers count as done.
    `hooks`: container -> its preStop hook, which counts against the grace. `last`: containers that end after all
    others, one after the other in this order (sidecars)."""

    uid: str
    pod: str
    containers: tuple[str, ...]
    grace: int
    hooks: tuple[tuple[str, Handler], ...] = ()
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class DrainPod:
    """Wait up to `seconds` for a pod's open connections to end; new ones do not arrive any more."""

    uid: str
    pod: str
    seconds: float


@dataclass(frozen=True)
class RunHook:
    """Run the postStart hook of a container, for the run of this name."""

    uid: str
    container: str
    run: str
    call: Call


@dataclass(frozen=True)
class RemoveContainer:
    uid: str
    container: str
    id: str


@dataclass(frozen=True)
class RemovePod:
    """Kill and remove the pod with its containers."""

    uid: str
    pod: str


@dataclass(frozen=True)
class RemoveVolumes:
    """Remove the volume directories of a deleted pod."""

    uid: str


NodeAction = (
    EnsureNetwork
    | SetLinks
    | SetRules
    | SetPolicies
    | SetZone
    | EnsureImage
    | WriteVolumes
    | PreparePath
    | CreatePod
    | CreateContainer
    | KeepInMemory
    | StartPod
    | StartContainer
    | StopContainer
    | StopPod
    | DrainPod
    | RunHook
    | RemoveContainer
    | RemovePod
    | RemoveVolumes
)


# --- what came of it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """The failure of an action, as data: `reason` is Kubernetes' word (ErrImagePull, CreateContainerError,
    RunContainerError, FailedMount, NodeNotReady ...), `message` the node's text, `step` the action's name. `at` is when
    (epoch seconds) and `count` how often in a row. `logins`: those that a pull was tried with."""

    reason: str
    message: str
    step: str
    image: str = ""
    at: float = 0.0
    count: int = 1
    logins: tuple[Credential, ...] = field(default=(), repr=False)


Failures = Mapping[tuple[str, str], Failure]
"""The last failures by (pod uid, container or ""); ("", step or "") for the node itself."""

Notes = tuple[tuple[str, str], ...]
"""(reason, message) of what went wrong on the way and held nothing up."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an action: `failure` is None on success. `id` is Podman's id of the created object."""

    action: NodeAction
    failure: Failure | None = None
    id: str = ""
    notes: Notes = ()
