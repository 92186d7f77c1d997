"""What can be done on a node, and what can be seen there: frozen values without behaviour.

`logic.nodeplan` turns wanted pods and NodeFacts into NodeActions; a Runtime (node/podman/runtime,
node/simulated/runtime) performs them one by one and reports an Outcome. No value here knows SSH or HTTP; a payload is
the JSON body of a Podman call.
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
    """How a run of a container ended: `at` in epoch seconds."""

    exit_code: int
    at: float
    oom_killed: bool = False


@dataclass(frozen=True)
class ContainerFact:
    """One container of a pod of ours. `name` is the container's name in the Pod; times are epoch seconds, 0 if never.
    `state` is Podman's: created, running, paused, exited, stopping, removing. `exit_code` and `oom_killed` tell of the
    last run that ended, also where another one runs; `before` of the run before the one that has ended, where there
    was one and it is known. `restarts` counts Podman's own restarts since the container was last started by us."""

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
    """One Podman pod that carries our labels. `ip` is the address we gave it ("" for host network); `hash` the spec
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
    """Everything a plan may know about a node. `boot_id` changes with each boot. `volumes` maps the uid of each pod
    with a volume directory to a mapping of volume name to the content hash written there."""

    pods: tuple[PodFact, ...] = ()
    boot_id: str = ""
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    network: str = ""
    network_trouble: str = ""
    """Why `network` is empty although a node has, or should have, one."""
    links: Links = field(default_factory=Links)
    """How pods of other nodes are reached: tunnels and routes as they are."""
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
    """What a node is: read when it is added and at each connect. cpu in cores, memory in bytes."""

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
    """Make sure that the pod network of this cluster exists on the node with this subnet, and forwarding is on."""

    subnet: str


@dataclass(frozen=True)
class SetLinks:
    """Make tunnels and routes of ours exactly these (logic/network/links). A WireGuard key is made where there is
    none."""

    links: Links

    @property
    def hash(self) -> str:
        return self.links.hash


@dataclass(frozen=True)
class SetRules:
    """Make our nftables table of services exactly this (logic/network/balance); `hash` names it. `flows` are the
    endpoints to which datagrams may go on going: "ADDRESS:PORT" of a service, or ":PORT" of the node itself ->
    "ADDRESS:PORT"."""

    text: str
    hash: str
    flows: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SetPolicies:
    """Make our nftables table of network policies exactly this (logic/network/policy); `hash` names it. Where both are
    "" there is to be none. `pods`: the uids of the pods that it guards, none of which may run without it."""

    text: str
    hash: str
    pods: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SetZone:
    """Have the node's name server answer from exactly this (logic/network/zone); `hash` names it. `away`: names that
    stand for one outside the cluster, with that one."""

    hosts: str
    config: str
    hash: str
    away: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Credential:
    """A login at a registry: user name and password, or an identity token. `secret` names where it stands."""

    secret: str
    username: str = ""
    password: Masked | None = None
    token: Masked | None = None


@dataclass(frozen=True)
class EnsureImage:
    """Have an image on the node. `policy` is Always, IfNotPresent or Never. `logins` are tried one after the other;
    none at all asks as anybody. `missing`: pull secrets that are named and not there; `hint`: what to say where the
    registry refuses."""

    image: str
    policy: str
    logins: tuple[Credential, ...] = ()
    missing: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class WriteVolumes:
    """Make or bring up to date the volume directories of a pod."""

    uid: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class PreparePath:
    """A hostPath that must exist or be made before its pod starts (its `type` in core/v1 HostPathVolumeSource)."""

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
    names of Podman's secrets that the payload refers to, and the file on the node that each is read from."""

    uid: str
    container: str
    payload: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KeepInMemory:
    """Before a container with secret variables starts: have Podman's own directory of it (`id` is an id or a name) be
    `directory`, which lies in a tmpfs, because its variables are written there at each start."""

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
    """SIGTERM, then SIGKILL after `grace` seconds. Podman will not restart it by itself. `hook` (preStop) is done first
    and uses up the grace. `because` is what the user is told."""

    uid: str
    container: str
    id: str
    grace: int
    hook: Handler | None = None
    because: str = ""


@dataclass(frozen=True)
class StopPod:
    """Stop containers of one pod (ids or names) side by side: SIGTERM to each, SIGKILL to those that still run after
    `grace` seconds (0: at once). Podman will not restart them by itself. One that has ended or is gone is done.
    `hooks`: container -> what is done before its SIGTERM (preStop), and uses up its grace. `last`: the containers that
    end after all others, one after the other in this order (sidecars)."""

    uid: str
    pod: str
    containers: tuple[str, ...]
    grace: int
    hooks: tuple[tuple[str, Handler], ...] = ()
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class DrainPod:
    """Give the connections that a pod still has up to `seconds` to end; new ones do not come any more."""

    uid: str
    pod: str
    seconds: float


@dataclass(frozen=True)
class RunHook:
    """Carry out the postStart hook of a container, for the run of this name."""

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
    """Kill what still runs in the pod and remove it with its containers."""

    uid: str
    pod: str


@dataclass(frozen=True)
class RemoveVolumes:
    """Remove the volume directories of a pod that is gone."""

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
    """Why an action failed, as data: `reason` is the word users of Kubernetes know (ErrImagePull,
    CreateContainerError, RunContainerError, FailedMount, NodeNotReady ...), `message` what the node said, `step`
    the action's name. `at` is when (epoch seconds) and `count` how often in a row. `logins`: those that a pull was
    tried with."""

    reason: str
    message: str
    step: str
    image: str = ""
    at: float = 0.0
    count: int = 1
    logins: tuple[Credential, ...] = field(default=(), repr=False)


Failures = Mapping[tuple[str, str], Failure]
"""What failed last, by (uid, container or ""); ("", step or "") for the node itself."""

Notes = tuple[tuple[str, str], ...]
"""(reason, message) of what went wrong on the way and held nothing up."""


@dataclass(frozen=True)
class Outcome:
    """What came of one action: `failure` is None where it was done. `id` is the id Podman gave to what was made."""

    action: NodeAction
    failure: Failure | None = None
    id: str = ""
    notes: Notes = ()
