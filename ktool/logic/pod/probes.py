"""Startup, liveness and readiness probes: which are due, and the effect of their results.

nodeplane/prober keeps a Record for each Probe and asks here for the next one; the plans and podstatus read Vitals.
Pure. A probe belongs to one run of a container; the next run begins anew. Source:
kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes, and pkg/kubelet/prober for what it leaves
open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from zlib import crc32

from ktool.api.obj import Obj, deleting, epoch, get, uid
from ktool.api.pod import containers_of, finished, statuses_by_name
from ktool.api.ref import Ref
from ktool.logic.node import probecalls
from ktool.logic.node.nodeaction import ContainerFact, NodeFacts

STARTUP, LIVENESS, READINESS = "startup", "liveness", "readiness"
KINDS = (STARTUP, LIVENESS, READINESS)

QUICK = 0.25
"""Seconds after which a readiness probe that has not succeeded yet is asked again; doubled each time, up to its period.
Kubernetes too asks a container that is not Ready more often than its period says, so that it is Ready sooner."""

Key = tuple[str, str, str]
"""uid, container, kind"""


@dataclass(frozen=True)
class Probe:
    """A probe of one run of a container. `since`: the start of the run (epoch seconds). `grace`: its termination grace
    period in seconds, None for the pod's own."""

    pod: Ref
    uid: str
    container: str
    kind: str
    run: str
    id: str
    since: float
    handler: probecalls.Handler
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3
    grace: int | None = None

    @property
    def key(self) -> Key:
        return (self.uid, self.container, self.kind)

    @property
    def call(self) -> probecalls.Call:
        return probecalls.Call(self.kind, self.id, self.handler, self.timeout)


@dataclass(frozen=True)
class Record:
    """The results of a probe so far. `verdict` is the present result after thresholds, None before the first one;
    `last` the last answer, `row` how often in a row. `due` is the time of the next call; `over`: none in this run any
    more."""

    due: float
    verdict: bool | None = None
    last: bool | None = None
    row: int = 0
    asked: int = 0
    over: bool = False


@dataclass(frozen=True)
class Health:
    """The probes' verdict on one run of a container. `failed`: the kind of the probe that demands a restart, with that
    probe's `grace`."""

    run: str
    started: bool = True
    ready: bool = True
    failed: str = ""
    grace: int | None = None


@dataclass(frozen=True)
class Vitals:
    """Health of containers beyond the observation: by (uid, container) for those with probes, and the runs whose
    postStart hook is done."""

    health: Mapping[tuple[str, str], Health] = field(default_factory=dict)
    hooked: Set[str] = frozenset()


UNKNOWN = Vitals()


# --- which probes there are --------------------------------------------------------------------------------------


def run_of(fact: ContainerFact) -> str:
    """The id of a container's present run: Podman restarts the same container, so its id alone does not identify a
    run."""
    return f"{fact.id}@{fact.started_at:.3f}"


def same_run(entry: Obj, fact: ContainerFact) -> bool:
    """Whether an entry of a Pod's status belongs to the present run."""
    own = str(entry.get("containerID") or "").rpartition("//")[2]
    return own == fact.id and epoch(get(entry, "state", "running", "startedAt")) == int(fact.started_at)


def needs_start(container: Obj) -> bool:
    """Whether a container needs more than running to count as started: a postStart hook or a startup probe."""
    return bool(container.get("startupProbe") or get(container, "lifecycle", "postStart"))


def address(pod: Obj, seen: str, host: str) -> str:
    """The address to probe a pod at: the node's for a pod on the host network."""
    return seen or str(get(pod, "status", "podIP", default="")) or host or "127.0.0.1"


def found(pods: Iterable[Obj], facts: NodeFacts, host: str, hooked: Set[str]) -> dict[Key, Probe]:
    """The probes of every running container. For a terminating pod only the readiness probes (it serves until it is
    stopped). `host`: the node's own address."""
    seen = {fact.uid: fact for fact in facts.pods}
    result: dict[Key, Probe] = {}
    for pod in pods:
        fact = seen.get(uid(pod))
        if fact is None or not has_probes(pod) or finished(pod):
            continue
        running = {one.name: one for one in fact.containers if one.state == "running"}
        ip, known = address(pod, fact.ip, host), statuses_by_name(pod)
        for container in containers_of(pod):
            run = running.get(container["name"])
            if run is None or not is_hooked(container, run, known.get(run.name) or {}, hooked):
                continue
            for probe in _of_container(pod, container, run, ip):
                result[probe.key] = probe
    return result


def is_hooked(container: Obj, fact: ContainerFact, entry: Obj, hooked: Set[str]) -> bool:
    """Whether the postStart hook of this run, if any, is done: performed by this process, or the status says that it
    started."""
    if not get(container, "lifecycle", "postStart"):
        return True
    return run_of(fact) in hooked or (bool(entry.get("started")) and same_run(entry, fact))


def has_probes(pod: Obj) -> bool:
    return any(f"{kind}Probe" in container for container in containers_of(pod) for kind in KINDS)


def _of_container(pod: Obj, container: Obj, fact: ContainerFact, ip: str) -> Iterator[Probe]:
    for kind in (READINESS,) if deleting(pod) else KINDS:
        spec = container.get(f"{kind}Probe")
        if not spec:
            continue
        yield Probe(
            pod=Ref.of(pod),
            uid=uid(pod),
            container=container["name"],
            kind=kind,
            run=run_of(fact),
            id=fact.id,
            since=fact.started_at,
            handler=probecalls.of(spec, container, ip),
            delay=float(spec.get("initialDelaySeconds") or 0),
            period=float(spec.get("periodSeconds") or 10),
            timeout=float(spec.get("timeoutSeconds") or 1),
            successes=int(spec.get("successThreshold") or 1),
            failures=int(spec.get("failureThreshold") or 3),
            grace=spec.get("terminationGracePeriodSeconds"),
        )


# --- what becomes of one -----------------------------------------------------------------------------------------


def begin(probe: Probe, pod: Obj, fact: ContainerFact | None, now: float, age: float, spread: bool) -> Record:
    """The initial record of a probe. A status of this very run is believed until the first answer: another control
    plane has probed before. `now` is the prober's clock, `age` the run's age in seconds. `spread`: probes that are
    believed to be well start at different moments of their period, so that not all are called at once."""
    entry = statuses_by_name(pod).get(probe.container) or {}
    wait = min(max(0.0, probe.delay - age), probe.delay)
    if fact is None or not same_run(entry, fact):
        return Record(due=now + wait)
    if probe.kind == STARTUP and entry.get("started"):
        return Record(due=now, verdict=True, over=True)
    if probe.kind == READINESS and not entry.get("ready"):
        return Record(due=now + wait)
    if spread and not wait:
        wait = crc32(f"{probe.uid} {probe.container} {probe.kind}".encode()) % 1000 / 1000 * probe.period
    return Record(due=now + wait, verdict=True if probe.kind == READINESS else None)


def after(probe: Probe, record: Record, ok: bool, asked: float, now: float) -> Record:
    """The record after the answer to a call made at `asked`."""
    row = record.row + 1 if record.last is ok else 1
    verdict, over = record.verdict, False
    if row >= (probe.successes if ok else probe.failures):
        verdict = ok
        over = ok if probe.kind == STARTUP else (not ok and probe.kind == LIVENESS)
        over = over or (probe.kind == STARTUP and not ok)
    count = record.asked + 1
    due = max(now, asked + _pause(probe, ok, verdict, count))
    return replace(record, due=due, verdict=verdict, last=ok, row=row, asked=count, over=over)


def _pause(probe: Probe, ok: bool, verdict: bool | None, count: int) -> float:
    if probe.kind == READINESS and not ok and verdict is not True:
        return min(probe.period, QUICK * 2.0 ** min(count - 1, 20))
    return probe.period


def waits(probe: Probe, startup: Record | None) -> bool:
    """Whether a probe waits for the startup probe of its container (None: it has none)."""
    return probe.kind != STARTUP and startup is not None and startup.verdict is not True


def health(records: Iterable[tuple[Probe, Record]]) -> Health:
    """The combined verdict of a container's probes; at least one."""
    started = ready = True
    failed, grace, run = "", None, ""
    for probe, record in records:
        run = probe.run
        if probe.kind == STARTUP:
            started = record.verdict is True
        elif probe.kind == READINESS:
            ready = record.verdict is True
        if probe.kind != READINESS and record.verdict is False:
            failed, grace = probe.kind, probe.grace
    return Health(run, started, started and ready, failed, grace)


def unhealthy_message(probe: Probe, answer: probecalls.Answer) -> str:
    """The message of the Event Unhealthy, as the kubelet writes it."""
    return f"{probe.kind.capitalize()} probe failed: {answer.message}"


def killing_message(container: str, kind: str) -> str:
    return f"Container {container} failed {kind} probe, will be restarted"
