"""A whole cluster without a thread: one SQLite file, simulated machines, and a control plane that is stepped by hand.

Which loop takes the next step is thrown with a seeded die, time passes only when a test says so, and what must hold
at every moment is checked after every step (sim/promises). A control plane can be killed before or after any commit
and any action on a machine; the file and the machines survive, and the next one carries on.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ktool.api.action import Action
from ktool.api.errors import ApiError
from ktool.api.obj import Obj, deleting, get, name, uid
from ktool.api.ref import ENDPOINT_SLICE, EVENT, POD, Ref
from ktool.api.world import World
from ktool.control.controller import Controllers
from ktool.control.scheduler import Scheduler
from ktool.logic.node.nodeaction import NodeAction, Outcome, StopPod
from ktool.logic.schedule import project
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from ktool.node.simulated.runtime import RUNTIMES, SimulatedRuntime
from ktool.node.simulated.simmachine import Machine, Settings
from ktool.nodeplane.nodes import Nodes
from ktool.registry.apply import apply
from ktool.registry.cache import Cache
from ktool.registry.registry import Outcomes, Registry
from ktool.registry.workqueue import WorkQueue
from ktool.store.store import Store, StoreError
from tests.everykind import KINDS

from .promises import Promises

START = 1_700_000_000.0
QUIET = 70.0
"""Seconds without a commit after which a world is taken to be at rest: every loop has looked again by then."""


class Killed(BaseException):
    """The process of the control plane ends here."""


class Time:
    """A clock that only tests move; what machines do later happens while it passes."""

    def __init__(self) -> None:
        self.now = START
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._calls = 0

    def __call__(self) -> float:
        return self.now

    def later(self, delay: float, function: Callable[[], None]) -> None:
        self._calls += 1
        self._later.append((self.now + delay, self._calls, function))

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted(entry for entry in self._later if entry[0] <= end):
            self._later.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][2]()
        self.now = end


class Life:
    """How many commits and actions a control plane lives through; None for as many as it likes."""

    def __init__(self) -> None:
        self.left: int | None = None

    def breathe(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class Failures(logging.Handler):
    """What the loops log as an error: they go on after it, and a test must not, unless it broke the store."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class MortalRegistry(Registry):
    """`broken`: the disk is full."""

    life: Life
    broken = False

    def execute(self, actions: Iterable[Action], *, component: str) -> Outcomes:
        self.life.breathe()
        if self.broken:
            raise StoreError("the disk is full")
        outcomes = super().execute(actions, component=component)
        self.life.breathe()
        return outcomes


class MortalRuntime(SimulatedRuntime):
    life: Life
    ends: Callable[[str], None]

    def perform(self, action: NodeAction) -> Outcome:
        self.life.breathe()
        if isinstance(action, StopPod):
            self.ends(action.uid)
        outcome = super().perform(action)
        self.life.breathe()
        return outcome


class Plane:
    """What app.ControlPlane runs on threads, here without any."""

    def __init__(
        self, registry: Registry, clock: Time, connect: Callable[[Obj], SimulatedRuntime], every_node: bool
    ) -> None:
        self.cache = Cache(registry.store)
        self.controllers = Controllers(registry, self.cache, KINDS, clock=clock, queue=WorkQueue(clock))
        self.scheduler = Scheduler(registry, self.cache, clock=clock)
        self.nodes = Nodes(
            registry,
            self.cache,
            cluster=registry.store.cluster_id,
            connect=connect,
            clock=clock,
            every_node=every_node,
            queue=WorkQueue(clock),
            ticks=clock,
        )

    def decide(self) -> bool:
        if self.controllers.step():
            return True
        if not self.scheduler.dirty:
            return False
        try:
            self.scheduler.step()
        except StoreError:
            return False  # the thread logs it, waits a little and goes on
        return True

    def act(self) -> bool:
        asked = self.nodes.prober.step()
        return self.nodes.step() or asked


class Cluster:
    """`seed` decides who steps next. `start_delay`: seconds a container takes to start. `backlog`: how many changes a
    cache may leave waiting before it has to list again. `every_node`: as a server, or as a passing command."""

    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 0,
        start_delay: float = 0.0,
        backlog: int = 20_000,
        every_node: bool = True,
    ) -> None:
        self.clock, self.life, self._backlog, self._every_node = Time(), Life(), backlog, every_node
        self._file, self._dice, self._start_delay = directory / "ktool.db", random.Random(seed), start_delay
        self._uids = random.Random(f"uids {seed}")
        self._sizes: dict[str, tuple[int, int]] = {}
        self._token = 0
        self.ended: list[bool] = []
        """For each pod that was told to end, whether services sent new connections to it at that moment."""
        RUNTIMES.clear()
        project._versions.clear()  # it knows pods by uid and resourceVersion, and ours come again in each test
        self.promises = Promises()
        self._failures = Failures(logging.ERROR)
        logging.getLogger("ktool").addHandler(self._failures)
        self._begin()

    def _begin(self) -> None:
        self._token += 1
        self.store = Store(self._file, backlog=self._backlog)
        self.registry = MortalRegistry(self.store, KINDS, clock=self.clock, new_uid=self._uid)
        self.registry.life = self.life
        self.plane = Plane(self.registry, self.clock, self._connect, self._every_node)
        self._look()

    def _look(self) -> None:
        objects, revision = self.store.list("")
        self._changes = self.store.watch("", revision)
        self._world = World(objects)

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._uids.getrandbits(128)))

    def _connect(self, node: Obj) -> SimulatedRuntime:
        cpu, memory = self._sizes[name(node)]
        runtime = MortalRuntime(
            name(node),
            settings=Settings(cpu, memory, self._start_delay),
            clock=self.clock,
            sleep=self.clock.sleep,
            call_later=self.clock.later,
        )
        runtime.life, runtime.ends = self.life, self._ends
        runtime.claim(self.store.cluster_id, self._token)
        return runtime

    def _ends(self, own: str) -> None:
        """Called when a machine is told to end a pod."""
        slices = self.world().list(ENDPOINT_SLICE)
        ready = (one for entry in slices for one in entry.get("endpoints") or () if one["conditions"]["ready"])
        self.ended.append(any(one["targetRef"]["uid"] == own for one in ready))

    def restart(self) -> None:
        """The control plane is gone with all it knew; another one begins on the same file and machines."""
        self.store.close()
        for machine in RUNTIMES.values():
            machine.listeners.clear()
        self.life.left = None
        self._begin()

    def close(self) -> None:
        logging.getLogger("ktool").removeHandler(self._failures)
        self.store.close()
        RUNTIMES.clear()

    # --- what a user does

    def add_node(self, node: str, *, cpu: int = 8, memory: int = 16 * 1024**3, **spec: Any) -> None:
        self._sizes[node] = (cpu, memory)
        notes = {"ktool.dev/connection": "simulated://"}
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "annotations": notes}, "spec": spec})

    def apply(self, *objects: Obj) -> None:
        apply(self.registry, objects)

    def scale(self, ref: Ref, replicas: int) -> None:
        self.registry.patch(ref, {"spec": {"replicas": replicas}}, subresource="scale")

    def delete(self, ref: Ref, propagation: str = "Background") -> None:
        self.registry.delete(ref, propagation=propagation)

    # --- what happens

    def machine(self, node: str) -> Machine:
        return RUNTIMES[node]

    def step(self) -> bool:
        """One step of one loop, then everything promised is checked; False where no loop has anything to do."""
        loops = [self.plane.decide, self.plane.act]
        self._dice.shuffle(loops)
        if self._dice.random() < 0.5:
            self.plane.cache.sync()
        done = any(loop() for loop in loops)
        if not done:
            self.plane.cache.sync()
            done = any(loop() for loop in loops)
        for record in self._failures.records:
            error = record.exc_info[1] if record.exc_info else None
            assert isinstance(error, StoreError), f"{record.getMessage()}: {error!r}"
        if done:
            self.promises.check(self.world(), RUNTIMES, self.clock.now)
        return done

    def steps(self, count: int) -> None:
        """So many steps; where nothing is to be done, time passes."""
        for _ in range(count):
            if not self.step():
                self.clock.sleep(self._dice.choice((0.1, 1.0)))

    def rest(self) -> None:
        """Step at this very moment until nothing is left to be done before time passes."""
        for _ in range(5_000):
            if not self.step():
                return
        raise AssertionError("the loops keep each other busy without end")

    def wait(self, seconds: float, tick: float = 1.0) -> None:
        """Let time pass, with every loop at work."""
        end = self.clock.now + seconds
        self.rest()
        while self.clock.now < end:
            self.clock.sleep(min(tick, end - self.clock.now))
            self.rest()

    def settle(self, longest: float = 1_800.0) -> None:
        """Let time pass until the store has been left alone for QUIET seconds; what fails may be tried again every
        five minutes, so tests with faults ask for a certain end with `until`."""
        end, head, since = self.clock.now + longest, -1, self.clock.now
        while self.clock.now < end:
            self.rest()
            if self.store.head() != head:
                head, since = self.store.head(), self.clock.now
            elif self.clock.now - since > QUIET:
                return
            self.clock.sleep(1.0)
        raise AssertionError(f"the world is not at rest after {longest:g} seconds")

    def until(self, met: Callable[[], bool], longest: float = 1_800.0) -> None:
        """Let time pass until it is so."""
        end = self.clock.now + longest
        self.rest()
        while not met():
            assert self.clock.now < end, f"not so after {longest:g} seconds"
            self.clock.sleep(1.0)
            self.rest()

    # --- what there is

    def world(self) -> World:
        """What is in the store, by a watch of our own: a wrong cache is noticed."""
        try:
            changes = self._changes.poll()
        except ApiError:  # a small backlog closes our watch as well
            self._changes.close()
            self._look()
            return self._world
        for change in changes:
            if change.type == "DELETED":
                self._world.remove(Ref.of(change.obj))
            else:
                self._world.set(change.obj)
        return self._world

    def get(self, ref: Ref) -> Obj | None:
        return self.store.get(ref.key)

    def pods(self, namespace: str | None = None) -> list[Obj]:
        return self.registry.list(POD, namespace)[0]

    def events(self, reason: str) -> list[Obj]:
        return [event for event in self.registry.list(EVENT)[0] if event["reason"] == reason]

    def running(self) -> dict[str, str]:
        """The uids of all pods on machines, and where they are."""
        return {pod.uid: node for node, machine in RUNTIMES.items() for pod in machine.pods.values()}

    def assert_as_wanted(self) -> None:
        """Every Deployment is rolled out, and machines hold the pods in the store and no others."""
        world = self.world()
        for deployment in world.list(DEPLOYMENT):
            found = KINDS[DEPLOYMENT].controller.progress(deployment, world)
            assert found.done, f"{name(deployment)}: {found.message}"
            sets = world.owned(uid(deployment), REPLICA_SET)
            pods = [pod for rs in sets for pod in world.owned(uid(rs), POD)]
            assert len(pods) == get(deployment, "spec", "replicas")
            image = get(deployment, "spec", "template", "spec", "containers")[0]["image"]
            assert {pod["spec"]["containers"][0]["image"] for pod in pods} <= {image}
        assert not [name(pod) for pod in world.list(POD) if deleting(pod)]
        assert self.running() == {uid(pod): pod["spec"]["nodeName"] for pod in world.list(POD)}
        for pod in world.list(POD):
            entry = next(p for p in RUNTIMES[pod["spec"]["nodeName"]].pods.values() if p.uid == uid(pod))
            images = [container.image for container in entry.containers.values()]
            assert images == [f"docker.io/library/{c['image']}" for c in pod["spec"]["containers"]]
            assert all(container.state == "running" for container in entry.containers.values())

    def assert_at_rest(self) -> None:
        """An unchanged world is written to by nobody: not when every loop looks at everything again, and not by a new
        control plane."""
        head = self.store.head()
        for kind in KINDS:
            for obj in self.store.list(f"{kind.name}/")[0]:
                self.plane.controllers.queue.add(Ref.of(obj))
        self.wait(QUIET, tick=10.0)
        assert self.store.head() == head, self._since(head)
        self.restart()
        self.wait(QUIET, tick=10.0)
        assert self.store.head() == head, self._since(head)

    def _since(self, head: int) -> str:
        with self.store.watch("", head) as subscription:
            changes = [f"{change.type} {change.key}: {_differences(change)}" for change in subscription.poll()]
        return "written without need:\n" + "\n".join(changes)


def _differences(change: Any) -> str:
    before = change.before or {}
    return ", ".join(
        f"{member} {before.get(member)} -> {value}"
        for member, value in change.obj.items()
        if member != "metadata" and before.get(member) != value
    )


def deployment(name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Obj:
    """A Deployment as a user writes it; `cpu` is what each pod asks for."""
    container: Obj = {"name": "main", "image": image}
    if cpu := spec.pop("cpu", ""):
        container["resources"] = {"requests": {"cpu": cpu}}
    grace = spec.pop("grace", 30)
    namespace = spec.pop("namespace", "default")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": grace},
            },
            **spec,
        },
    }


def rolling(surge: int | str, unavailable: int | str) -> Obj:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
