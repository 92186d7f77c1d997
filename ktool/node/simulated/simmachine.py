"""Simulated machine: a container runtime in memory, with pods, containers, a clock and faults.

node/simulated/runtime drives it as a node of the cluster; tests reach in to crash a container, reboot or unplug it.
There is no thread per machine: changes by the clock alone are computed when somebody looks.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf

from ktool.logic.network.links import Links
from ktool.logic.node.nodeaction import ContainerFact, PodFact
from ktool.node.simulated.faults import CRASH_AFTER, SIGKILLED, Fault

log = logging.getLogger(__name__)

NOBODY = ("", -1)
"""The owner of a machine that belongs to no cluster."""


@dataclass(frozen=True)
class Settings:
    """`start_delay`: seconds from the request to start a container until it runs. `run_for`: seconds until a container
    whose restart policy is not `always` succeeds (init containers and jobs)."""

    cpu: int = 32
    memory: int = 256 * 1024**3
    start_delay: float = 0.0
    run_for: float = 0.0
    faults: tuple[Fault, ...] = ()


@lru_cache(maxsize=1024)
def image_id(image: str) -> str:
    return "sha256:" + hashlib.sha256(image.encode()).hexdigest()


@dataclass
class Container:
    """A simulated container. `due` is when the clock changes its state: the end of a start or of a run."""

    name: str
    id: str
    key: str
    image: str
    restart_policy: str
    faults: tuple[Fault, ...]
    state: str = "created"
    starting: bool = False
    due: float = inf
    exit_code: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    restarts: int = 0
    oom_killed: bool = False

    def fault(self, *reasons: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.reason.partition(":")[0] in reasons), None)

    def fact(self) -> ContainerFact:
        return ContainerFact(
            name=self.name,
            id=self.id,
            state=self.state,
            image=self.image,
            image_id=image_id(self.image),
            exit_code=self.exit_code,
            started_at=self.started_at,
            finished_at=self.finished_at,
            restarts=self.restarts,
            oom_killed=self.oom_killed,
        )


@dataclass
class Pod:
    key: str
    id: str
    uid: str
    namespace: str
    name: str
    hash: str
    ip: str
    created_at: float
    infra: str = "created"
    containers: dict[str, Container] = field(default_factory=dict)
    seen: PodFact | None = None
    """The last fact, until something changes."""


class Machine:
    """A simulated machine. Thread-safe. Times are those of `clock` (epoch seconds); `call_later` runs a function after
    so many seconds."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        self.name, self.clock = name, clock
        self.settings = self._described = settings
        self._call_later = call_later or ALARM.call_later
        self.lock = threading.RLock()
        self.pods: dict[str, Pod] = {}
        """By the name that Podman knows."""
        self._containers: dict[str, tuple[Pod, Container]] = {}
        """By name and by id."""
        self._due: list[tuple[float, int, Pod, Container]] = []
        """A heap of what the clock will change; an entry counts while its container's `due` is that of the entry."""
        self.volumes: dict[str, dict[str, str]] = {}
        self.links = Links()
        self.network = ""
        self.zone = ""
        self.owner = NOBODY
        """Cluster and highest fencing token seen."""
        self.reachable = True
        self.listeners: list[Callable[[], None]] = []
        self._boots = 1
        self._made = 0
        self._woken_at = inf
        """The time of the machine's next alarm, inf if none is set."""

    def describe(self, settings: Settings) -> None:
        """Apply new settings; unchanged ones leave alone what a test has changed since."""
        with self.lock:
            if settings != self._described:
                self.settings = self._described = settings

    @property
    def boot_id(self) -> str:
        return self._digest(f"boot {self._boots}")[:32]

    # --- what tests do to it

    def crash(self, pod: str, container: str = "", exit_code: int = 1) -> None:
        """End running containers of the pod of this name (or uid) with `exit_code`: one, or all without a name. Their
        restart policies then apply. Raises KeyError where nothing of that name runs."""
        with self.lock:
            self.advance()
            found = [
                (owner, one)
                for owner in self.pods.values()
                for one in owner.containers.values()
                if pod in (owner.name, owner.uid) and container in ("", one.name) and one.state == "running"
            ]
            if not found:
                raise KeyError(f"no container {container!r} of pod {pod!r} runs on simulated node {self.name}")
            for owner, one in found:
                self._end(one, exit_code, self.clock())
                self._arm(owner, one)
                owner.seen = None
        self._tell()

    def reboot(self) -> None:
        """Power off and on: nothing runs any more, and state in memory is lost (routes, Podman's network state). Podman
        shows containers after a boot as created."""
        with self.lock:
            self._boots += 1
            self.links, self.network, self.zone = Links(), "", ""
            for pod in self.pods.values():
                pod.infra, pod.seen = "created", None
                for container in pod.containers.values():
                    self._rest(container, "created")
                    container.exit_code, container.oom_killed = 0, False
        self._tell()

    def unplug(self) -> None:
        """Cut the network: every call raises Unreachable until `plug`. Containers run on."""
        self.reachable = False
        self._tell()

    def plug(self) -> None:
        self.reachable = True
        self._tell()

    def set_faults(self, *faults: Fault) -> None:
        """Replace the faults; existing containers take on the new ones with their next start."""
        with self.lock:
            self.settings = replace(self.settings, faults=faults)
            for pod in self.pods.values():
                for container in pod.containers.values():
                    container.faults = self.faults_for(container.image, pod.name, container.name)

    # --- what happens on it

    def faults_for(self, image: str, *names: str) -> tuple[Fault, ...]:
        known = self.settings.faults
        if not known:
            return ()
        short = image.rpartition("/")[2]
        every = (image, short, short.partition(":")[0], *names)
        return tuple(fault for fault in known if fault.hits(every))

    def make_id(self, of: str) -> str:
        self._made += 1
        return self._digest(f"{of} {self._boots} {self._made}")

    def add(self, pod: Pod, container: Container) -> None:
        pod.containers[container.key] = container
        pod.seen = None
        self._containers[container.key] = self._containers[container.id] = (pod, container)

    def remove(self, pod: Pod, container: Container) -> None:
        pod.containers.pop(container.key, None)
        pod.seen = None
        self._containers.pop(container.key, None)
        self._containers.pop(container.id, None)
        self._rest(container, "removing")

    def remove_pod(self, pod: Pod) -> None:
        for container in list(pod.containers.values()):
            self.remove(pod, container)
        self.pods.pop(pod.key, None)

    def start(self, pod: Pod, container: Container) -> None:
        """Begin to start a container that does not run, unless a start is under way."""
        pod.infra, pod.seen = "running", None
        if container.state == "running" or container.starting:
            return
        container.starting, container.restarts = True, 0
        container.due = self.clock() + self.settings.start_delay
        self._settle(container, self.clock())
        self._arm(pod, container)

    def stop(self, pod: Pod, container: Container, killed: bool) -> None:
        """End a container on request: Podman does not restart it."""
        pod.seen = None
        was_running = container.state == "running"
        self._rest(container, "exited" if was_running else container.state)
        if was_running:
            container.exit_code = SIGKILLED if killed else 0
            container.finished_at = self.clock()

    def advance(self) -> None:
        """Bring every container up to the present time."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            due, _, pod, container = heapq.heappop(self._due)
            if container.due == due:
                self._settle(container, now)
                self._arm(pod, container)
                pod.seen = None

    def pod(self, key: str) -> Pod | None:
        """A pod by Podman's name or id."""
        return self.pods.get(key) or next((pod for pod in self.pods.values() if pod.id == key), None)

    def container(self, key: str) -> tuple[Pod, Container] | None:
        """A container by Podman's name or id."""
        return self._containers.get(key)

    # --- time

    def _settle(self, container: Container, now: float) -> None:
        """Apply every change that was due up to now."""
        while container.due <= now:
            if container.state == "running":
                crash = container.fault("Crash", "OOMKilled")
                code = crash.exit_code if crash else None
                self._end(container, code or 0, container.due, oom=crash is not None and crash.reason == "OOMKilled")
            else:
                self._run(container, container.due)

    def _run(self, container: Container, at: float) -> None:
        container.state, container.starting = "running", False
        container.started_at = at
        if container.fault("Crash", "OOMKilled"):
            container.due = at + CRASH_AFTER
        elif container.restart_policy == "always":
            container.due = inf
        else:
            container.due = at + self.settings.run_for

    def _end(self, container: Container, code: int, at: float, oom: bool = False) -> None:
        """A container ended by itself: Podman restarts it at once where its policy says so."""
        self._rest(container, "exited")
        container.exit_code, container.finished_at, container.oom_killed = code, at, oom
        if container.restart_policy == "always" or (container.restart_policy == "on-failure" and code):
            container.restarts += 1
            self._run(container, at)

    @staticmethod
    def _rest(container: Container, state: str) -> None:
        container.state, container.starting, container.due = state, False, inf

    def _arm(self, pod: Pod, container: Container) -> None:
        """Schedule a notification of the listeners for the next change by the clock; one alarm at a time is enough."""
        if container.due < inf:
            self._made += 1
            heapq.heappush(self._due, (container.due, self._made, pod, container))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._due and self._due[0][0] < self._woken_at:
            self._woken_at = self._due[0][0]
            self._call_later(max(0.0, self._woken_at - self.clock()), self._ring)

    def _ring(self) -> None:
        with self.lock:
            self._woken_at = inf
            self.advance()
            self._set_alarm()
        self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self.name} {text}".encode()).hexdigest()


class Alarm:
    """A timer thread for all simulated machines of the process; started by the first call, it ends with the process."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._calls = 0
        self._thread: threading.Thread | None = None

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        with self._changed:
            self._calls += 1
            heapq.heappush(self._waiting, (time.monotonic() + delay, self._calls, function))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="simulated-time", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > time.monotonic():
                    self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
                _, _, function = heapq.heappop(self._waiting)
            try:
                function()
            except Exception:  # one listener's error must not stop the time of the others
                log.exception("a simulated node could not tell what has changed")


ALARM = Alarm()
