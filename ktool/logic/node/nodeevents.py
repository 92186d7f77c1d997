"""Node Events: the Events that users know from a kubelet (Pulled, Created, Started, Killing, Failed, BackOff,
Unhealthy).

nodeplane/lanes and nodeplane/nodeloop emit them.
"""

from __future__ import annotations

from ktool.api.action import Action, Emit
from ktool.api.obj import Obj, get, uid
from ktool.api.pod import app_containers, sidecars_of, statuses_by_name, statuses_of
from ktool.api.ref import Ref
from ktool.logic.node.nodeaction import (
    CreateContainer,
    EnsureImage,
    NodeAction,
    Outcome,
    StartContainer,
    StartPod,
    StopContainer,
    StopPod,
)

_PLAIN = frozenset({"FailedPostStartHook"})
_FAILED = {"ErrImagePull": "Failed", "ErrImageNeverPull": "ErrImageNeverPull", "InvalidImageName": "InspectFailed"}


def of_outcome(pod: Obj, outcome: Outcome) -> list[Action]:
    """The Events for the outcome of one action."""
    told = _of_outcome(pod, outcome)
    if isinstance(outcome.action, EnsureImage) and outcome.action.missing:
        names = ", ".join(outcome.action.missing)
        text = f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
        told.insert(0, Emit(Ref.of(pod), "FailedToRetrieveImagePullSecret", text, "Warning", uid(pod)))
    return told


def _of_outcome(pod: Obj, outcome: Outcome) -> list[Action]:
    ref, pod_uid, action = Ref.of(pod), uid(pod), outcome.action
    if outcome.failure is not None:
        failure = outcome.failure
        if failure.reason in _PLAIN:
            return [Emit(ref, failure.reason, failure.message, "Warning", pod_uid)]
        reason = _FAILED.get(failure.reason, "Failed" if failure.step != "WriteVolumes" else "FailedMount")
        text = f'Failed to pull image "{failure.image}": {failure.message}' if failure.image else failure.message
        return [Emit(ref, reason, f"Error: {failure.reason}: {text}", "Warning", pod_uid)]
    notes = [Emit(ref, reason, message, "Warning", pod_uid) for reason, message in outcome.notes]
    return [*notes, *_of_success(pod, action)]


def _of_success(pod: Obj, action: NodeAction) -> list[Action]:
    ref, pod_uid = Ref.of(pod), uid(pod)
    match action:
        case EnsureImage(image=image):
            return [Emit(ref, "Pulled", f'Container image "{image}" present on machine', uid=pod_uid)]
        case CreateContainer(container=container):
            return [Emit(ref, "Created", f"Created container: {container}", uid=pod_uid)]
        case StartContainer(container=container):
            return [Emit(ref, "Started", f"Started container {container}", uid=pod_uid)]
        case StartPod():
            names = [container["name"] for container in app_containers(pod)]
            return [Emit(ref, "Started", f"Started container {name}", uid=pod_uid) for name in names]
        case StopContainer(container=container, because=because):
            return [Emit(ref, "Killing", because or f"Stopping container {container}", uid=pod_uid)]
        case StopPod():
            names = [c["name"] for c in (*app_containers(pod), *sidecars_of(pod))]
            return [Emit(ref, "Killing", f"Stopping container {name}", uid=pod_uid) for name in names]
    return []


def of_status(pod: Obj, status: Obj) -> list[Action]:
    """The Events for a change of a pod's status that no action of the control plane caused."""
    actions: list[Action] = []
    before = statuses_by_name(pod)
    for entry in statuses_of({"status": status}):
        waiting = get(entry, "state", "waiting", default={})
        was = get(before.get(entry["name"]), "state", "waiting", default={})
        if told := _of_waiting(pod, entry["name"], waiting, was):
            actions.append(Emit(Ref.of(pod), *told, "Warning", uid(pod)))
    return list(dict.fromkeys(actions))  # a volume that is missing holds back every container


def _of_waiting(pod: Obj, container: str, waiting: Obj, was: Obj) -> tuple[str, str] | None:
    """Reason and message for a newly waiting container."""
    reason, message = waiting.get("reason"), str(waiting.get("message", ""))
    if reason in ("CrashLoopBackOff", "ImagePullBackOff") and was.get("reason") != reason:
        what = "restarting failed container" if reason == "CrashLoopBackOff" else "pulling image"
        return "BackOff", f"Back-off {what} {container} in pod {Ref.of(pod).name}"
    if message == was.get("message") or not message:
        return None
    if reason == "CreateContainerConfigError":
        return "Failed", f"Error: {message}"
    if message.startswith("MountVolume.SetUp failed"):
        return "FailedMount", message
    return None
