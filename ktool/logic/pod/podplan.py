"""Plan of a pod: the next actions for one pod on its node, derived anew each time from the Pod and the observed facts.

logic/plan/nodeplan calls it. No step remembers the one before: a pod interrupted anywhere (a killed control plane, a
reboot, a person with `podman rm`) is continued from its observed state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ktool.api.marks import DRAIN_SECONDS
from ktool.api.obj import Obj, annotations_of, get, meta, uid
from ktool.api.pod import app_containers, containers_of, finished, init_containers, is_sidecar
from ktool.logic.node.backoff import retry_at
from ktool.logic.node.nodeaction import (
    CreateContainer,
    CreatePod,
    DrainPod,
    EnsureImage,
    Failure,
    NodeAction,
    PodFact,
    RemoveContainer,
    RemoveVolumes,
    RunHook,
    StartContainer,
    StartPod,
    StopContainer,
    WriteVolumes,
)
from ktool.logic.pod import podlife, pullauth, secretenv
from ktool.logic.pod.context import Context
from ktool.logic.pod.podenv import Scope
from ktool.logic.pod.podfields import GRACE, container_name, grace_period, image_name, image_of
from ktool.logic.pod.podrun import Run
from ktool.logic.pod.podspec import Rendered, render
from ktool.logic.pod.podstatus import container_runs, initialized, standing
from ktool.logic.pod.podvolumes import volumes
from ktool.logic.pod.probes import UNKNOWN, Vitals

ENDING = frozenset({"StopPod", "StopContainer", "RemoveContainer", "RemovePod", "RemoveVolumes"})
"""Steps whose failure holds back the end of a pod; a failed start does not."""

DRAIN = 1.0
"""Default drain time in seconds, for open connections to finish before SIGTERM. Most requests are shorter; a client
that keeps its connection learns of the end from the application, or when the grace period is over."""

AS_WANTED = "it is as wanted"
_NOT_HELD = frozenset({"EnsureImage", RunHook.__name__})
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


@dataclass
class Step:
    """The next actions for one pod. `wake`: when time alone changes the plan (epoch seconds); `problems`: container (""
    for all) -> why it cannot be made; `because`: why there are no actions."""

    actions: list[NodeAction] = field(default_factory=list)
    wake: list[float] = field(default_factory=list)
    problems: Mapping[str, Failure] = field(default_factory=dict)
    because: str = ""


# --- beginning ---------------------------------------------------------------------------------------------------


def begin(pod: Obj, ip: str, context: Context) -> Step:
    """Create a pod that the node does not have: images, directories, the pod, its containers, and start it. With init
    containers only the first of them is created; the others follow one by one."""
    runs = container_runs(pod, None, context.now)
    if runs and all(run.final for own, run in runs.items() if own not in _init(pod)):
        return Step(because="its containers have ended for good")
    step = Step()
    if _held(pod, "", context, step) or _pull_held(pod, None, context, step):
        return step
    rendered = render(pod, node=context.node, cluster=context.cluster, ip=ip, lookup=context.lookup)
    step.problems = rendered.problems
    wanted = _first(pod, rendered, runs)
    if not wanted:
        step.because = _problem_text(rendered)
        return step
    step.actions += _images(rendered, rendered.images)
    step.actions += _prepare(rendered, pod, context, every=True)
    step.actions.append(CreatePod(uid(pod), rendered.pod))
    step.actions += [_make(own, pod, rendered) for own in wanted]
    step.actions += _keep_in_memory(pod, {own: container_name(own, pod) for own in wanted})
    step.actions.append(StartPod(uid(pod), rendered.pod_name))
    return step


def _first(pod: Obj, rendered: Rendered, runs: Mapping[str, Run]) -> list[str]:
    """The containers to create together with the pod."""
    if not initialized(pod, None, runs, UNKNOWN):
        first = next(own for own in rendered.init if not runs[own].succeeded)
        return [first] if first in rendered.containers else []
    once = _init(pod)
    return [own for own in rendered.containers if own not in once and not runs[own].final]


# --- carrying on -------------------------------------------------------------------------------------------------


def carry_on(pod: Obj, fact: PodFact, context: Context) -> Step:
    """Bring an existing pod to its wanted state."""
    step = Step()
    if finished(pod):
        step.because = "it has ended for good"
        if podlife.alive(fact):
            step.actions.append(podlife.stop(pod, fact, grace_period(pod), context))
        return step
    if _held(pod, "", context, step):
        return step
    if not fact.infra:
        step.actions += podlife.end(pod, fact, grace_period(pod), context)
        return step
    runs = container_runs(pod, fact, context.now)
    targets = _targets(pod, fact, runs, context.vitals)
    if any(runs[own].final and not runs[own].succeeded for own in _init(pod)):
        return Step(because="an init container failed and restartPolicy is Never")
    due = [own for own in targets if _due(own, runs[own], pod, fact, context, step)]
    return _perform(pod, fact, runs, due, context, step)


def _targets(pod: Obj, fact: PodFact, runs: Mapping[str, Run], vitals: Vitals) -> list[str]:
    """The containers whose turn it is: the first init container that has not succeeded, else the sidecars up to the
    first that has not started, else all but the finished init containers."""
    if initialized(pod, fact, runs, vitals):
        once = _init(pod)
        return [own for own in runs if own not in once]
    seen = {found.name: found for found in fact.containers}
    targets = []
    for container in init_containers(pod):
        own = container["name"]
        if is_sidecar(container):
            targets.append(own)
            if not standing(pod, container, seen.get(own), vitals)[0]:
                break
        elif not runs[own].succeeded:
            targets.append(own)
            break
    return targets


def _due(own: str, run: Run, pod: Obj, fact: PodFact, context: Context, step: Step) -> bool:
    """Whether a container needs an action now; a later time is noted in the step."""
    if run.final or _held(pod, own, context, step):
        return False
    if run.state == "running":
        return run.stop or _other_image(own, pod, fact) or bool(podlife.attend(own, pod, fact, run, context))
    if run.state == "exited" and context.now < run.until and (run.delay or fact.infra == "running"):
        step.wake.append(run.until)
        step.because = step.because or f"container {own} waits until it is started again"
        return False
    makes = run.state == "absent" or _other_image(own, pod, fact)
    return not (makes and _pull_held(pod, own, context, step))


def _perform(pod: Obj, fact: PodFact, runs: Mapping[str, Run], due: list[str], context: Context, step: Step) -> Step:
    """The actions for the containers in `due`, preceded by what they need on the node."""
    ids = {found.name: found.id for found in fact.containers}
    stop = [own for own in due if runs[own].state == "running" and runs[own].stop]
    step.actions += [StopContainer(uid(pod), own, ids[own], grace_period(pod)) for own in stop]
    attended = [own for own in due if own not in stop and runs[own].state == "running"]
    attended = [own for own in attended if not _other_image(own, pod, fact)]
    for own in attended:
        step.actions += podlife.attend(own, pod, fact, runs[own], context)
    start = [own for own in due if own not in stop and own not in attended]
    make = [own for own in start if own not in ids or _other_image(own, pod, fact)]
    if not (make or (start and fact.infra != "running")):
        step.actions += _changed_volumes(pod, fact, context)
        step.actions += _keep_in_memory(pod, {own: ids[own] for own in start})
        step.actions += [StartContainer(uid(pod), own, ids[own]) for own in start]
        return _explained(step)
    rendered = render(pod, node=context.node, cluster=context.cluster, ip=fact.ip, lookup=context.lookup)
    step.problems = rendered.problems
    if "" in rendered.problems:
        step.because = _problem_text(rendered)
        return step
    make = [own for own in make if own in rendered.containers]
    start = [own for own in start if own in ids or own in make]
    step.actions += _images(rendered, make)
    step.actions += _prepare(rendered, pod, context, every=fact.infra != "running")
    for own in make:
        step.actions += _replaced(own, pod, fact, runs[own], context)
        step.actions.append(_make(own, pod, rendered))
    known = {own: ids[own] for own in start if own not in make}
    step.actions += _keep_in_memory(pod, {own: known.get(own) or container_name(own, pod) for own in start})
    step.actions += _start(pod, fact, start, known)
    step.because = step.because or _problem_text(rendered)
    return _explained(step)


def _replaced(own: str, pod: Obj, fact: PodFact, run: Run, context: Context) -> list[NodeAction]:
    """Remove a container whose image was changed in the Pod."""
    found = next((found for found in fact.containers if found.name == own), None)
    if found is None:
        return []
    if run.state != "running":
        return [RemoveContainer(uid(pod), own, found.id)]
    spec = next(container for container in containers_of(pod) if container["name"] == own)
    because = f"Container {own} definition changed, will be restarted"
    hook = podlife.hook(spec, "preStop", pod, fact, context)
    stop = StopContainer(uid(pod), own, found.id, grace_period(pod), hook, because)
    return [stop, RemoveContainer(uid(pod), own, found.id)]


def _start(pod: Obj, fact: PodFact, start: list[str], ids: Mapping[str, str]) -> list[NodeAction]:
    """Start containers: the whole pod at once where that starts these and no other (Podman's pod start also starts what
    has ended), else one by one (Podman starts the infra container first where it does not run)."""
    whole = {*start} == {container["name"] for container in app_containers(pod)} and not init_containers(pod)
    if fact.infra != "running" and start and (whole or _only(start, fact)):
        return [StartPod(uid(pod), fact.id)]
    return [StartContainer(uid(pod), own, ids.get(own) or container_name(own, pod)) for own in start]


def _only(start: list[str], fact: PodFact) -> bool:
    return {found.name for found in fact.containers} <= {*start}


def _explained(step: Step) -> Step:
    if not step.actions and not step.because:
        step.because = AS_WANTED
    return step


# --- ending ------------------------------------------------------------------------------------------------------


def end(pod: Obj | None, fact: PodFact, context: Context, *, serves: bool = False) -> Step:
    """Stop and remove a pod on the node: a terminating one, or (None) one that no Pod wants. `serves`: it got
    connections up to now."""
    step = Step()
    failure = context.failures.get((fact.uid, ""))
    if failure is not None and failure.step in ENDING and context.now < retry_at(failure):
        step.wake.append(retry_at(failure))
        step.because = f"{failure.step} is tried again later"
        return step
    grace = GRACE if pod is None else asked_grace(pod)
    if serves and grace > 0 and podlife.alive(fact):
        step.actions.append(DrainPod(fact.uid, fact.id, _drain(pod, grace)))
    step.actions += podlife.end(pod, fact, grace, context)
    # Most pods have no volume directory, and looking for one costs the node a process.
    if fact.uid in context.written:
        step.actions.append(RemoveVolumes(fact.uid))
    return step


def asked_grace(pod: Obj) -> int:
    """The grace period in seconds that the deletion asked for."""
    asked = meta(pod).get("deletionGracePeriodSeconds")
    return grace_period(pod) if asked is None else int(asked)


def _drain(pod: Obj | None, grace: int) -> float:
    """Drain the pod, within the time that is left of its (possibly shortened) grace period."""
    notes = {} if pod is None else annotations_of(pod)
    if pod is not None and DRAIN_SECONDS in notes and grace >= grace_period(pod):
        return float(notes[DRAIN_SECONDS])
    return min(float(notes.get(DRAIN_SECONDS, DRAIN)), float(grace))


# --- what holds a step back --------------------------------------------------------------------------------------


def _held(pod: Obj, own: str, context: Context, step: Step) -> bool:
    """Whether this pod or container is in back-off after its last failure. Pulls are judged where images are needed,
    and a failed hook stops its container at once."""
    failure = context.failures.get((uid(pod), own))
    if failure is None or failure.step in _NOT_HELD or context.now >= retry_at(failure):
        return False
    step.wake.append(retry_at(failure))
    step.because = f"{failure.step} failed and is tried again later"
    return True


def _pull_held(pod: Obj, own: str | None, context: Context, step: Step) -> bool:
    """Whether the pull of an image needed now (by one container, or for None by any) is in back-off."""
    for key in ("", own or ""):
        failure = context.failures.get((uid(pod), key))
        if failure is None or failure.step != "EnsureImage" or context.now >= retry_at(failure):
            continue
        needed = {image_of(pod, c) for c in containers_of(pod) if own in (None, c["name"])}
        if not failure.image or (image_name(failure.image) in needed and not _other_logins(pod, failure, context)):
            step.wake.append(retry_at(failure))
            step.because = f"image {failure.image} could not be pulled and is tried again later"
            return True
    return False


def _other_logins(pod: Obj, failure: Failure, context: Context) -> bool:
    """Whether the pull secrets changed since the failed pull, so that another attempt makes sense."""
    return pullauth.keyring(pod, context.lookup).ensure(failure.image, "").logins != failure.logins


def _other_image(own: str, pod: Obj, fact: PodFact) -> bool:
    """Whether the Pod names another image than the container was created from."""
    seen = next((found.image for found in fact.containers if found.name == own), "")
    if not seen or _IMAGE_ID.fullmatch(seen):
        return False
    wanted = next((image_of(pod, c) for c in containers_of(pod) if c["name"] == own), "")
    return image_name(seen) != wanted


# --- parts -------------------------------------------------------------------------------------------------------


def _prepare(rendered: Rendered, pod: Obj, context: Context, *, every: bool) -> list[NodeAction]:
    """Actions for volumes and host paths. `every`: assume nothing is there, as after a reboot."""
    written = {} if every else context.written.get(uid(pod), {})
    wanted = tuple(volume for volume in rendered.volumes if written.get(volume.name) != volume.hash)
    return [*([WriteVolumes(uid(pod), wanted)] if wanted else []), *rendered.host_paths]


def _changed_volumes(pod: Obj, fact: PodFact, context: Context) -> list[NodeAction]:
    """Update the volumes of a running pod, and variables from Secrets, which a container gets at its next start. Where
    an object is gone the old content stays."""
    hidden = any(secretenv.concerns(container) for container in containers_of(pod))
    if not (hidden or get(pod, "spec", "volumes")):
        return []
    scope = Scope(pod, context.node, fact.ip, context.lookup)
    found = [*volumes(scope).volumes, *filter(None, [secretenv.changed(scope)])]
    written = context.written.get(uid(pod), {})
    wanted = tuple(volume for volume in found if written.get(volume.name) != volume.hash)
    return [WriteVolumes(uid(pod), wanted)] if wanted else []


def _make(own: str, pod: Obj, rendered: Rendered) -> CreateContainer:
    return CreateContainer(uid(pod), own, rendered.containers[own], rendered.secrets[own])


def _keep_in_memory(pod: Obj, ids: Mapping[str, str]) -> list[NodeAction]:
    """Actions before each start of containers (name -> id) with secret variables."""
    hidden = [container["name"] for container in containers_of(pod) if secretenv.concerns(container)]
    return [secretenv.keep_in_memory(pod, own, ids[own]) for own in hidden if own in ids]


def _images(rendered: Rendered, containers: Iterable[str]) -> list[NodeAction]:
    """Each image once, in the order of the containers; pull policy Always wins where two containers differ."""
    found: dict[str, EnsureImage] = {}
    for own in containers:
        wanted = rendered.images[own]
        before = found.get(wanted.image)
        found[wanted.image] = wanted if before is None or before.policy != "Always" else before
    return list(found.values())


def _init(pod: Obj) -> list[str]:
    """The init containers that run to completion."""
    return [container["name"] for container in init_containers(pod) if not is_sidecar(container)]


def _problem_text(rendered: Rendered) -> str:
    return "; ".join(failure.message for failure in rendered.problems.values())
