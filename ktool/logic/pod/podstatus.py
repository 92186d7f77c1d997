"""Pod status: as the kubelet would report it, from the facts observed on its node.

nodeplane/nodeloop writes it. Equal input returns the very same object: no time moves unless its state has changed.
Source: core/v1 PodStatus; pkg/kubelet (getPhase, convertToAPIContainerStatuses) and pkg/kubelet/status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ktool.api.obj import Obj, get, is_true, name, namespace, timestamp, uid, with_condition
from ktool.api.pod import (
    FINAL_PHASES,
    app_containers,
    init_containers,
    is_sidecar,
    qos_class,
    sidecars_of,
    statuses_by_name,
)
from ktool.logic.node.backoff import duration
from ktool.logic.node.nodeaction import ContainerFact, Failure, Failures, PodFact
from ktool.logic.pod import probes
from ktool.logic.pod.podenv import Scope
from ktool.logic.pod.podfields import host_network, image_name, image_of
from ktool.logic.pod.podrun import CRASH_LOOP, Run, assess, is_alive
from ktool.logic.pod.probes import UNKNOWN, Vitals

_SHOWN = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "InvalidImageName"})
"""Failures that Kubernetes names as a container's waiting reason; others keep it in ContainerCreating."""


def status(
    pod: Obj, fact: PodFact | None, *, node: Obj, failures: Failures, now: float, vitals: Vitals = UNKNOWN
) -> Obj:
    """The new status of `pod`, bound to `node`; `fact` is its observation (None: not there). `failures` maps (uid,
    container, or "" for the whole pod) to the last failure, NodePlan.problems among them. Where `vitals` know nothing
    of a run, the present status stands."""
    before: Obj = pod.get("status") or {}
    runs = container_runs(pod, fact, now)
    view = _View(pod, fact, runs, failures, vitals)
    result = dict(before)
    init = [view.entry(container, True) for container in init_containers(pod)]
    containers = [view.entry(container, False) for container in app_containers(pod)]
    result["phase"] = _phase(pod, runs)
    sidecars = {container["name"] for container in sidecars_of(pod)}
    beside = [entry for entry in init if entry["name"] in sidecars]
    result["conditions"] = _conditions(pod, runs, beside, containers, result["phase"], now)
    if host := Scope(pod, node, "", lambda _: None).host_ip:
        result |= {"hostIP": host, "hostIPs": [{"ip": host}]}
    ip = host if host_network(pod) and fact is not None else fact.ip if fact is not None else ""
    if ip:
        result |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    result["startTime"] = before.get("startTime") or timestamp(now)
    result["qosClass"] = before.get("qosClass") or qos_class(pod)
    if init:
        result["initContainerStatuses"] = init
    result["containerStatuses"] = containers
    return before if result == before else result


def container_runs(pod: Obj, fact: PodFact | None, now: float) -> dict[str, Run]:
    """The run state of each container of `pod`, init containers first."""
    policy = str(get(pod, "spec", "restartPolicy", default="Always"))
    known = statuses_by_name(pod)
    seen = {found.name: found for found in fact.containers} if fact is not None else {}
    runs: dict[str, Run] = {}
    for init, group in ((True, init_containers(pod)), (False, app_containers(pod))):
        for container in group:
            own, beside = container["name"], init and is_sidecar(container)
            runs[own] = assess(
                known.get(own) or {},
                seen.get(own),
                policy="Always" if beside else policy,
                init=init and not beside,
                now=now,
            )
    return runs


def standing(pod: Obj, container: Obj, fact: ContainerFact | None, vitals: Vitals) -> tuple[bool, bool]:
    """(started, ready) of a container. Started: it runs, its postStart hook is done and its startup probe has
    succeeded."""
    if fact is None or not is_alive(fact):
        return False, False
    if not (probes.needs_start(container) or container.get("readinessProbe")):
        return True, True
    entry = statuses_by_name(pod).get(container["name"]) or {}
    known, same = vitals.health.get((uid(pod), container["name"])), probes.same_run(entry, fact)
    if known is not None and known.run != probes.run_of(fact):
        known = None
    started = probes.is_hooked(container, fact, entry, vitals.hooked)
    if container.get("startupProbe"):
        started = started and (known.started if known else same and bool(entry.get("started")))
    ready = started
    if container.get("readinessProbe"):
        ready = started and (known.ready if known else same and bool(entry.get("ready")))
    return started, ready


def initialized(pod: Obj, fact: PodFact | None, runs: Mapping[str, Run], vitals: Vitals) -> bool:
    """Whether the init containers are done. App containers are created only after them, and a recorded success stands:
    an init container that a person or a reboot removed does not run again."""
    init = {container["name"] for container in init_containers(pod)}
    if not init or is_true(pod, "Initialized"):
        return True
    if fact is not None and any(found.name not in init for found in fact.containers):
        return True
    return not unfinished(pod, fact, runs, vitals)


def unfinished(pod: Obj, fact: PodFact | None, runs: Mapping[str, Run], vitals: Vitals) -> list[str]:
    """The init containers that have not succeeded yet, and the sidecars that have not started."""
    seen = {found.name: found for found in fact.containers} if fact is not None else {}
    found = []
    for container in init_containers(pod):
        own = container["name"]
        done = standing(pod, container, seen.get(own), vitals)[0] if is_sidecar(container) else runs[own].succeeded
        if not done:
            found.append(own)
    return found


def back_off_message(pod: Obj, container: str, delay: int) -> str:
    """The kubelet's message; podrun reads the delay out of it again."""
    where = f"{name(pod)}_{namespace(pod)}({uid(pod)})"
    return f"back-off {duration(delay)} restarting failed container={container} pod={where}"


# --- containers --------------------------------------------------------------------------------------------------


class _View:
    """The projection of one pod: makes the status entry of each of its containers."""

    def __init__(
        self, pod: Obj, fact: PodFact | None, runs: Mapping[str, Run], failures: Failures, vitals: Vitals
    ) -> None:
        self.pod, self.runs, self.failures, self.vitals = pod, runs, failures, vitals
        self.facts: dict[str, ContainerFact] = {found.name: found for found in fact.containers} if fact else {}
        self.has_init = bool(init_containers(pod))
        self.initialized = initialized(pod, fact, runs, vitals)
        self.unfinished = unfinished(pod, fact, runs, vitals) if self.has_init else []
        self.before = statuses_by_name(pod)

    def entry(self, container: Obj, init: bool) -> Obj:
        own = container["name"]
        run, fact, before = self.runs[own], self.facts.get(own), self.before.get(own) or {}
        state = self._state(container, run, fact)
        started, ready = standing(self.pod, container, fact, self.vitals) if "running" in state else (False, False)
        last = run.last
        if "waiting" in state and run.ended is not None:
            last = run.ended
        result: Obj = {
            "name": own,
            "state": state,
            "lastState": {"terminated": last} if last else {},
            "ready": run.succeeded if init and not is_sidecar(container) else ready,
            "started": started,
            "restartCount": run.restarts,
            "image": (fact.image if fact else "") or before.get("image") or image_name(str(container.get("image", ""))),
            "imageID": (fact.image_id if fact else "") or before.get("imageID") or "",
        }
        if fact is not None:
            result["containerID"] = f"podman://{fact.id}"
        elif before.get("containerID"):
            result["containerID"] = before["containerID"]
        return result

    def _state(self, container: Obj, run: Run, fact: ContainerFact | None) -> Obj:
        own = container["name"]
        if run.final:
            return {"terminated": run.ended}
        if run.state == "running" and not run.stop and fact is not None:
            return {"running": {"startedAt": timestamp(fact.started_at)}}
        if run.delay and (uid(self.pod), own) not in self.failures:
            return _waiting(CRASH_LOOP, back_off_message(self.pod, own, run.delay))
        if reason := self._trouble(container, run):
            return reason
        if run.state == "exited" and run.ended is not None:
            return {"terminated": run.ended}
        return _waiting("PodInitializing" if self.has_init else "ContainerCreating")

    def _trouble(self, container: Obj, run: Run) -> Obj | None:
        """The failure that keeps a container from running, its own or the whole pod's."""
        own, image = container["name"], image_of(self.pod, container)
        failure = self.failures.get((uid(self.pod), own))
        if failure is None:
            failure = self.failures.get((uid(self.pod), ""))
            if failure is None or run.state == "exited" or not self._its_turn(own):
                return None
        if failure.step == "EnsureImage":
            return _pull_trouble(failure, container) if failure.image in ("", image, container.get("image")) else None
        if failure.reason in _SHOWN:
            return _waiting(failure.reason, failure.message)
        return _waiting("PodInitializing" if self.has_init else "ContainerCreating", failure.message)

    def _its_turn(self, own: str) -> bool:
        init = {container["name"] for container in init_containers(self.pod)}
        if not init:
            return True
        if self.initialized:
            return own not in init
        return own == next(iter(self.unfinished), "")


def _pull_trouble(failure: Failure, container: Obj) -> Obj:
    """ErrImagePull at first, ImagePullBackOff during the back-off."""
    if failure.reason not in ("ErrImagePull", "ImagePullBackOff"):
        return _waiting(failure.reason, failure.message)
    if failure.count <= 1:
        return _waiting("ErrImagePull", failure.message)
    text = f'Back-off pulling image "{container.get("image", "")}": ErrImagePull: {failure.message}'
    return _waiting("ImagePullBackOff", text)


def _waiting(reason: str, message: str = "") -> Obj:
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


# --- the pod -----------------------------------------------------------------------------------------------------


def _phase(pod: Obj, runs: Mapping[str, Run]) -> str:
    """The phase, as in the kubelet's getPhase. An ended pod keeps its phase."""
    before = get(pod, "status", "phase", default="Pending")
    if before in FINAL_PHASES:
        return str(before)
    init = {container["name"] for container in init_containers(pod)}
    if any(run.final and not run.succeeded for own, run in runs.items() if own in init):
        return "Failed"
    apps = [run for own, run in runs.items() if own not in init]
    if apps and all(run.final for run in apps):
        return "Succeeded" if all(run.succeeded for run in apps) else "Failed"
    never_ran = [run for run in apps if run.state in ("absent", "created") and not run.final and run.last is None]
    return "Pending" if never_ran or not apps else "Running"


def _conditions(
    pod: Obj, runs: Mapping[str, Run], sidecars: Sequence[Obj], containers: Sequence[Obj], phase: str, now: float
) -> list[Obj]:
    result: list[Obj] = list(get(pod, "status", "conditions", default=()))
    init = [container["name"] for container in init_containers(pod)]
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    begun = {entry["name"] for entry in sidecars if entry["started"]}
    incomplete = [own for own in init if not runs[own].succeeded and own not in begun]
    if is_true(pod, "Initialized"):
        incomplete = []
    if incomplete and phase != "Succeeded" and not _past_init(runs, init):
        text = f"containers with incomplete status: [{' '.join(incomplete)}]"
        result = with_condition(result, "Initialized", "False", now, "ContainersNotInitialized", text)
    else:
        reason = "PodCompleted" if phase == "Succeeded" else ""
        result = with_condition(result, "Initialized", "True", now, reason)
    unready = [entry["name"] for entry in (*sidecars, *containers) if not entry["ready"]]
    text = f"containers with unready status: [{' '.join(unready)}]" if unready and not ended else ""
    reason = ended or ("ContainersNotReady" if unready else "")
    all_ready = "False" if reason else "True"
    result = with_condition(result, "Ready", all_ready, now, reason, text)
    result = with_condition(result, "ContainersReady", all_ready, now, reason, text)
    if not any(entry.get("type") == "PodScheduled" for entry in result):
        result = with_condition(result, "PodScheduled", "True", now)
    return result


def _past_init(runs: Mapping[str, Run], init: Sequence[str]) -> bool:
    return any(run.state != "absent" for own, run in runs.items() if own not in init)
