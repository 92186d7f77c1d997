"""Container lifecycle: postStart and preStop hooks, restarts after failed probes, and the order of termination.

logic/plan/nodeplan and logic/pod/podplan call it. Source:
kubernetes.io/docs/concepts/containers/container-lifecycle-hooks and .../workloads/pods/sidecar-containers.
"""

from __future__ import annotations

from ktool.api.obj import Obj, get, uid
from ktool.api.pod import containers_of, is_sidecar, statuses_by_name
from ktool.logic.node import probecalls
from ktool.logic.node.nodeaction import NodeAction, PodFact, RemovePod, RunHook, StartContainer, StopContainer, StopPod
from ktool.logic.pod import probes, secretenv
from ktool.logic.pod.context import Context
from ktool.logic.pod.podenv import Scope
from ktool.logic.pod.podfields import grace_period
from ktool.logic.pod.podrun import FREE, Run

POST_START_TIMEOUT = 600.0
"""Timeout of a postStart hook in seconds. Kubernetes has none, but every remote call here has a deadline."""

_SETTLED = frozenset({"created", "configured", "exited"})


def attend(own: str, pod: Obj, fact: PodFact, run: Run, context: Context) -> list[NodeAction]:
    """The actions for a running container: run its postStart hook; or stop it, because the hook or a probe failed, and
    (while it has not failed too often) start it again at once."""
    found = next(found for found in fact.containers if found.name == own)
    spec = next(container for container in containers_of(pod) if container["name"] == own)
    entry = statuses_by_name(pod).get(own) or {}
    health, failure = context.vitals.health.get((uid(pod), own)), context.failures.get((uid(pod), own))
    grace, because = grace_period(pod), ""
    if failure is not None and failure.step == RunHook.__name__:
        because = "FailedPostStartHook"
    elif health is not None and health.failed and health.run == probes.run_of(found):
        because = probes.killing_message(own, health.failed)
        grace = grace if health.grace is None else health.grace
    if because:
        ended = StopContainer(uid(pod), own, found.id, grace, hook(spec, "preStop", pod, fact, context), because)
        never = get(pod, "spec", "restartPolicy") == "Never" and not is_sidecar(spec)
        if never or run.restarts >= FREE:
            return [ended]
        secrets = [secretenv.keep_in_memory(pod, own, found.id)] if secretenv.concerns(spec) else []
        return [ended, *secrets, StartContainer(uid(pod), own, found.id)]
    if probes.is_hooked(spec, found, entry, context.vitals.hooked):
        return []
    handler = hook(spec, "postStart", pod, fact, context)
    if handler is None:
        return []
    call = probecalls.Call("postStart", found.id, handler, POST_START_TIMEOUT)
    return [RunHook(uid(pod), own, probes.run_of(found), call)]


def hook(container: Obj, name: str, pod: Obj, fact: PodFact, context: Context) -> probecalls.Handler | None:
    """The handler of the container's hook `name` (postStart, preStop), None where it has none."""
    spec = get(container, "lifecycle", name)
    if not spec:
        return None
    host = Scope(pod, context.node, "", lambda _: None).host_ip
    return probecalls.of(spec, container, probes.address(pod, fact.ip, host))


def end(pod: Obj | None, fact: PodFact, grace: int, context: Context) -> list[NodeAction]:
    first: list[NodeAction] = [stop(pod, fact, grace, context)] if alive(fact) else []
    return [*first, RemovePod(fact.uid, fact.id)]


def stop(pod: Obj | None, fact: PodFact, grace: int, context: Context) -> StopPod:
    """Stop the running containers of a pod: with their preStop hooks, sidecars last, in reverse order."""
    ids = {found.name: found.id for found in fact.containers if found.state not in _SETTLED}
    specs = list(containers_of(pod)) if pod is not None else []
    sidecars = [ids[spec["name"]] for spec in specs if is_sidecar(spec) and spec["name"] in ids]
    hooks: list[tuple[str, probecalls.Handler]] = []
    for spec in specs if grace > 0 else ():
        handler = hook(spec, "preStop", pod or {}, fact, context) if spec["name"] in ids else None
        if handler is not None:
            hooks.append((ids[spec["name"]], handler))
    first = tuple(own for own in ids.values() if own not in sidecars)
    return StopPod(fact.uid, fact.id, first, grace, tuple(hooks), tuple(reversed(sidecars)))


def is_alive(fact: PodFact | None) -> bool:
    """Whether any container of the pod runs."""
    return fact is not None and bool(alive(fact))


def alive(fact: PodFact) -> tuple[str, ...]:
    return tuple(found.id for found in fact.containers if found.state not in _SETTLED)
