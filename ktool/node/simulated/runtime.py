"""SimulatedRuntime: the runtime of a node that exists in memory only, for trying manifests on a hundred nodes and for
tests.

node/connect makes it. It understands what a real node is sent (Podman's payloads with our labels) and reports what a
real one would. The machine behind it outlives its connections, so a node loop may reconnect; it ends with the process.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ktool.api.marks import POD_HASH, POD_IP, POD_NAME, POD_NAMESPACE
from ktool.api.obj import micro_timestamp
from ktool.api.units.quantity import bytes_, milli
from ktool.logic.network.links import Links
from ktool.logic.node.nodeaction import (
    CreateContainer,
    CreatePod,
    EnsureImage,
    EnsureNetwork,
    Failure,
    NodeAction,
    NodeFacts,
    NodeInfo,
    Outcome,
    PodFact,
    RemoveContainer,
    RemovePod,
    RemoveVolumes,
    RunHook,
    SetLinks,
    SetZone,
    StartContainer,
    StartPod,
    StopContainer,
    StopPod,
    WriteVolumes,
)
from ktool.logic.node.probecalls import Answer, Call
from ktool.node.base import ExecStream, LogOptions, NodeError, Unreachable
from ktool.node.simulated.faults import CALL_FAULTS, IMAGE_FAULTS, Fault
from ktool.node.simulated.simmachine import (
    NOBODY,
    Container,
    Machine,
    Pod,
    Settings,
)

RUNTIMES: dict[str, Machine] = {}
"""The simulated machines of this process by node name."""

CREATE_FAULT, RUN_FAULT = "CreateContainerError", "RunContainerError"

_registering = threading.Lock()


class Refused(Exception):
    """A refusal by the simulated machine; becomes the Outcome's failure."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class SimulatedRuntime:
    """Implements base.Runtime: one connection to a simulated machine, which is created at first use of its name;
    `settings` become the machine's. `sleep` waits out a grace period, `call_later` notifies listeners of later
    changes."""

    concurrency = 1  # an action takes microseconds: a thread for it would cost more than it does

    def __init__(
        self,
        node: str,
        *,
        settings: Settings = Settings(),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        call_later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        self.node = node
        with _registering:
            machine = RUNTIMES.get(node)
            if machine is None:
                machine = RUNTIMES[node] = Machine(node, settings, clock, call_later)
        machine.describe(settings)
        self.machine = machine
        self._sleep = sleep
        self._listener: Callable[[], None] | None = None

    # --- the protocol

    def info(self) -> NodeInfo:
        machine = self._reach("info")
        digest = hashlib.sha256(self.node.encode()).digest()
        return NodeInfo(
            hostname=self.node,
            machine_id=digest.hex()[:32],
            boot_id=machine.boot_id,
            cpu=machine.settings.cpu,
            memory=machine.settings.memory,
            kernel="simulated",
            os_image="simulated machine",
            architecture="amd64",
            runtime_version="simulated://0",
            addresses=(f"198.{18 + digest[0] % 2}.{digest[1]}.{digest[2]}",),  # RFC 2544: for benchmarks only
            clock=machine.clock(),
        )

    def claim(self, cluster: str, token: int) -> None:
        machine = self._reach("claim")
        with machine.lock:
            owner, highest = machine.owner
            if owner and owner != cluster:
                raise NodeError(self.node, "claim", f"node {self.node} belongs to cluster {owner}")
            if token < highest:
                message = f"another control plane of this cluster has taken over (it holds token {highest})"
                raise NodeError(self.node, "claim", message)
            machine.owner = (cluster, token)

    def release(self) -> None:
        machine = self._reach("release")
        with machine.lock:
            machine.links, machine.network, machine.zone, machine.owner = Links(), "", "", NOBODY

    def observe(self) -> NodeFacts:
        machine = self._reach("observe")
        with machine.lock:
            machine.advance()
            return NodeFacts(
                pods=tuple(pod.seen or _look(pod) for pod in machine.pods.values()),
                boot_id=machine.boot_id,
                volumes=dict(machine.volumes),
                links=machine.links,
                network=machine.network,
                zone=machine.zone,
            )

    def perform(self, action: NodeAction) -> Outcome:
        machine = self._reach(type(action).__name__)
        try:
            if isinstance(action, StopContainer | StopPod):
                return Outcome(action, id=self._stop(action))
            with machine.lock:
                machine.advance()
                return Outcome(action, id=self._do(action))
        except Refused as refused:
            pull = action if isinstance(action, EnsureImage) else EnsureImage("", "")
            step, at = type(action).__name__, machine.clock()
            failure = Failure(refused.reason, refused.message, step, pull.image, at=at, logins=pull.logins)
            return Outcome(action, failure)

    def call(self, call: Call) -> Answer:
        """Every running container answers well at once, unless a fault says otherwise."""
        machine = self._reach("call")
        with machine.lock:
            machine.advance()
            found = machine.container(call.container)
            if found is None or found[1].state != "running":
                return Answer(False, "the simulated container does not run")
            fault = found[1].fault(CALL_FAULTS[call.purpose])
        return Answer(False, f"the simulated fault {fault.reason} holds") if fault else Answer(True)

    def listen(self, changed: Callable[[], None]) -> None:
        self._listener = changed
        with self.machine.lock:
            self.machine.listeners.append(changed)

    def logs(self, container_id: str, options: LogOptions) -> Iterator[bytes]:
        """Two lines for each container, from its last start. There is never more output, so following it ends at
        once."""
        machine = self._reach("logs")
        with machine.lock:
            machine.advance()
            found = machine.container(container_id)
            if found is None:
                message = (
                    f"no container {container_id[:12]}; a simulated node lives as long as the control plane's process"
                )
                raise NodeError(self.node, "logs", message)
            pod, container = found
        if not container.started_at or container.started_at < options.since:
            return iter(())
        lines = [
            f"simulated container {container.name} of pod {pod.namespace}/{pod.name} on node {self.node}",
            f"image {container.image}",
        ]
        if options.tail >= 0:
            lines = lines[len(lines) - min(options.tail, len(lines)) :]
        stamp = f"{micro_timestamp(container.started_at)} " if options.timestamps else ""
        return iter([f"{stamp}{line}\n".encode() for line in lines])

    def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        self._reach("exec")
        raise NodeError(
            self.node, "exec", f"node {self.node} is simulated and runs no commands; exec needs a pod on a real node"
        )

    def close(self) -> None:
        with self.machine.lock:
            if self._listener in self.machine.listeners:
                self.machine.listeners.remove(self._listener)
            self._listener = None

    # --- actions

    def _reach(self, step: str) -> Machine:
        if not self.machine.reachable:
            raise Unreachable(self.node, step, f"cannot reach node {self.node}: the simulated machine is unplugged")
        return self.machine

    def _do(self, action: NodeAction) -> str:
        """Perform an action that takes no time; returns the id of a created object. Raises Refused."""
        machine = self.machine
        match action:
            case CreatePod(uid, payload):
                return self._create_pod(uid, payload)
            case CreateContainer(container=name, payload=payload):
                return self._create_container(name, payload)
            case StartPod(pod=key):
                return self._start_pod(key)
            case StartContainer(container=name, id=key):
                return self._start_container(name, key)
            case EnsureImage(image):
                fault = next((f for f in machine.faults_for(image) if f.reason in IMAGE_FAULTS), None)
                if fault:
                    raise Refused(fault.reason, f"the simulated fault {fault.reason} holds for image {image}")
            case RunHook(call=call):
                answer = self.call(call)
                if not answer.ok:
                    raise Refused("FailedPostStartHook", f"PostStartHook failed: {answer.message}")
            case RemoveContainer(id=key):
                if found := machine.container(key):
                    machine.remove(*found)
            case RemovePod(uid=uid, pod=key):
                if found_pod := machine.pod(key):
                    machine.remove_pod(found_pod)
                machine.volumes.pop(uid, None)
            case WriteVolumes(uid, volumes):
                kept = machine.volumes.get(uid, {})
                machine.volumes[uid] = {**kept, **{volume.name: volume.hash for volume in volumes}}
            case RemoveVolumes(uid):
                machine.volumes.pop(uid, None)
            case SetLinks(found):
                machine.links = found
            case SetZone(hash=digest):
                machine.zone = digest
            case EnsureNetwork(subnet):
                machine.network = subnet
        return ""

    def _create_pod(self, uid: str, payload: Mapping[str, Any]) -> str:
        machine, key = self.machine, str(payload["name"])
        if key in machine.pods:
            return machine.pods[key].id
        labels = payload.get("labels") or {}
        ip = str(labels.get(POD_IP, ""))
        if ip and any(pod.ip == ip for pod in machine.pods.values()):
            raise Refused("FailedCreatePodSandBox", f"requested ip address {ip} is already allocated")
        machine.pods[key] = Pod(
            key=key,
            id=machine.make_id(key),
            uid=uid,
            namespace=str(labels.get(POD_NAMESPACE, "")),
            name=str(labels.get(POD_NAME, "")),
            hash=str(labels.get(POD_HASH, "")),
            ip=ip,
            created_at=machine.clock(),
        )
        return machine.pods[key].id

    def _create_container(self, name: str, payload: Mapping[str, Any]) -> str:
        machine = self.machine
        pod = machine.pod(str(payload["pod"]))
        if pod is None:
            raise Refused(CREATE_FAULT, f"no pod with name or ID {payload['pod']} found: no such pod")
        key, image = str(payload["name"]), str(payload["image"])
        if key in pod.containers:
            return pod.containers[key].id
        container = Container(
            name=name,
            id=machine.make_id(key),
            key=key,
            image=image,
            restart_policy=str(payload.get("restart_policy") or "no"),
            faults=machine.faults_for(image, pod.name, name),
        )
        if container.fault(CREATE_FAULT):
            raise Refused(CREATE_FAULT, f"the simulated fault {CREATE_FAULT} holds for {name}")
        machine.add(pod, container)
        return container.id

    def _start_pod(self, key: str) -> str:
        pod = self.machine.pod(key)
        if pod is None:
            raise Refused(RUN_FAULT, f"no pod with name or ID {key} found: no such pod")
        pod.infra, pod.seen = "running", None
        for container in sorted(pod.containers.values(), key=lambda container: container.fault(RUN_FAULT) is not None):
            self._start(pod, container)  # as Podman, which starts what can be started before it reports the rest
        return pod.id

    def _start_container(self, name: str, key: str) -> str:
        found = self.machine.container(key)
        if found is None:
            raise Refused(RUN_FAULT, f"no container with name or ID {key} of {name} found: no such container")
        self._start(*found)
        return found[1].id

    def _start(self, pod: Pod, container: Container) -> None:
        if container.fault(RUN_FAULT):
            raise Refused(RUN_FAULT, f"the simulated fault {RUN_FAULT} holds for {container.name}")
        self.machine.start(pod, container)

    def _stop(self, action: StopContainer | StopPod) -> str:
        """SIGTERM to all, SIGKILL after the grace period to those with the fault IgnoreSIGTERM. The only blocking call;
        like Podman's it returns when they have ended. A missing container counts as ended."""
        keys = (*action.containers, *action.last) if isinstance(action, StopPod) else (action.id,)
        machine = self.machine
        with machine.lock:
            machine.advance()
            found = [entry for key in keys if (entry := machine.container(key))]
            stubborn = [entry for entry in found if entry[1].fault("IgnoreSIGTERM") and entry[1].state == "running"]
            for pod, container in found:
                if (pod, container) not in stubborn:
                    machine.stop(pod, container, killed=action.grace <= 0)
        if stubborn and action.grace > 0:
            self._sleep(action.grace)
        with machine.lock:
            for pod, container in stubborn:
                machine.stop(pod, container, killed=True)
        return ""


def _look(pod: Pod) -> PodFact:
    pod.seen = PodFact(
        uid=pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        id=pod.id,
        hash=pod.hash,
        ip=pod.ip,
        infra=pod.infra,
        containers=tuple(container.fact() for container in pod.containers.values()),
        created_at=pod.created_at,
    )
    return pod.seen


def from_url(node: str, url: str) -> SimulatedRuntime:
    """A connection to the simulated machine that a Node's annotation ktool.dev/connection describes:
    `simulated://?cpu=32&memory=256Gi&startDelay=0.2&runFor=5&fail=ErrImagePull@nginx*&fail=Crash:3@web-*`. `fail` is a
    Fault as REASON@PATTERN and may be repeated. Raises NodeError for an invalid URL."""
    options: dict[str, Any] = {}
    faults: list[Fault] = []
    try:
        for key, value in parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing="?" in url):
            match key:
                case "cpu":
                    options["cpu"] = max(1, milli(value) // 1000)
                case "memory":
                    options["memory"] = bytes_(value)
                case "startDelay":
                    options["start_delay"] = float(value)
                case "runFor":
                    options["run_for"] = float(value)
                case "fail":
                    reason, _, pattern = value.partition("@")
                    faults.append(Fault(reason, pattern or "*"))
                case _:
                    raise ValueError(f"unknown option {key!r}; known are cpu, memory, startDelay, runFor and fail")
    except ValueError as error:
        raise NodeError(node, "connect", f"the connection {url!r} of node {node} is not understood: {error}") from None
    return SimulatedRuntime(node, settings=Settings(faults=tuple(faults), **options))
