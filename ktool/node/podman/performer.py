"""Executors of NodeActions on a Podman node: one idempotent function per action type. node/podman/runtime calls
`perform`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ktool.api.marks import POD_CLUSTER, POD_UID
from ktool.logic.node import nodeaction as act
from ktool.node.base import NodeError, Transport, Unreachable
from ktool.node.network import flows, linkdevices, nameservers, nftables, podnetwork
from ktool.node.podman import envsecrets, podending, probeclient, pulls, volumes
from ktool.node.podman.facts import Settled
from ktool.node.podman.podmanapi import PodmanApi, Refused

_STARTING = re.compile(r"^starting container [0-9a-f]+: ")

_BAD_NAME = ("invalid image name", "invalid reference format", "parsing reference", "name must be lowercase")

_PRESENT_FOR = 5.0
"""Seconds for which an image that was there is believed to be there: the pods of one rollout share their images."""


class Failed(Exception):
    """A failed action, with Kubernetes' reason for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass
class Hands:
    """The context of the executors. `made`: ids and names of pods and containers known to carry this cluster's label.
    `settled` gives the cached links and volumes; `unsettle` invalidates them. `present`: image -> the time (monotonic
    seconds) at which it was last seen."""

    api: PodmanApi
    transport: Transport
    cluster: str
    settled: Callable[[], Settled]
    unsettle: Callable[[], None]
    made: set[str] = field(default_factory=set)
    images: pulls.SingleFlight = field(default_factory=pulls.SingleFlight)
    present: dict[str, float] = field(default_factory=dict)

    def saw(self, there: Iterable[str], gone: Iterable[str]) -> None:
        """Update `made` from an observation: add what carries the label, forget what is gone. Objects made since it
        began are in neither."""
        self.made.update(there)
        self.made.difference_update(gone)


def perform(hands: Hands, action: act.NodeAction) -> act.Outcome:
    """Perform one action. A refusal by the node is the Outcome's failure; raises Unreachable where the connection is
    gone."""
    function, reason = _TABLE[type(action)]
    try:
        done = _without_database_locks(lambda: function(hands, action))
        return act.Outcome(action, id=done) if isinstance(done, str) else act.Outcome(action, notes=done)
    except Unreachable:
        raise
    except Failed as failed:
        reason, message = failed.reason, failed.message
    except (Refused, NodeError) as error:
        message = error.message
    except ValueError as error:
        message = str(error)
    pull = action if isinstance(action, act.EnsureImage) else act.EnsureImage("", "")
    failure = act.Failure(reason, message, type(action).__name__, pull.image, at=time.time(), logins=pull.logins)
    return act.Outcome(action, failure)


def _without_database_locks(do: Callable[[], str | act.Notes]) -> str | act.Notes:
    """Retry on "database is locked": Podman 4's database gives up early when many calls write at once (an upstream
    defect). Nothing was done in that case."""
    for attempt in range(4):
        try:
            return do()
        except Refused as refused:
            if attempt == 3 or "database is locked" not in refused.message:
                raise
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
    raise AssertionError("unreachable")


# --- the node ------------------------------------------------------------------------------------------------------


def ensure_network(hands: Hands, action: act.EnsureNetwork) -> str:
    try:
        podnetwork.ensure(hands.api, hands.transport, hands.cluster, action.subnet)
    finally:
        hands.unsettle()
    return ""


def set_links(hands: Hands, action: act.SetLinks) -> str:
    try:
        linkdevices.set_links(hands.transport, hands.settled().links, action.links)
    finally:
        hands.unsettle()
    return ""


def set_rules(hands: Hands, action: act.SetRules) -> str:
    try:
        nftables.set_table(hands.transport, nftables.RULES, action)
        flows.flush(hands.transport, action.flows)
    finally:
        hands.unsettle()
    return ""


def set_policies(hands: Hands, action: act.SetPolicies) -> str:
    try:
        nftables.set_table(hands.transport, nftables.POLICIES, action)
    finally:
        hands.unsettle()
    return ""


def set_zone(hands: Hands, action: act.SetZone) -> str:
    try:
        nameservers.set_zone(hands.transport, action)
    finally:
        hands.unsettle()
    return ""


def ensure_image(hands: Hands, action: act.EnsureImage) -> str:
    if action.policy != "Always" and _has_image(hands, action.image):
        return ""
    if action.policy == "Never":
        message = f'Container image "{action.image}" is not present with pull policy of Never'
        raise Failed("ErrImageNeverPull", message)
    started = time.monotonic()
    key = (action.image, action.logins)
    with hands.images.turn(key) as last_done:
        # Whoever waited for a pull that began after this call has what it wants.
        if last_done >= started or (action.policy != "Always" and _has_image(hands, action.image)):
            return ""
        try:
            pulls.pull(hands.api, action)
        except pulls.PullFailed as failed:
            raise Failed(_pull_reason(str(failed)), str(failed)) from None
        hands.images.done(key, started)
    return ""


def _has_image(hands: Hands, image: str) -> bool:
    if time.monotonic() - hands.present.get(image, -_PRESENT_FOR) < _PRESENT_FOR:
        return True
    try:
        hands.api.get(f"images/{quote(image, safe='/:@')}/exists")
        hands.present[image] = time.monotonic()
        return True
    except Refused as refused:
        if refused.status == 404:
            return False
        raise


def _pull_reason(message: str) -> str:
    lower = message.lower()
    return "InvalidImageName" if any(text in lower for text in _BAD_NAME) else "ErrImagePull"


# --- volumes -------------------------------------------------------------------------------------------------------


def write_volumes(hands: Hands, action: act.WriteVolumes) -> str:
    if action.volumes:
        argv, stdin = volumes.write_command(action.uid, action.volumes, time.time_ns())
        hands.unsettle()
        _shell(hands, argv, stdin, 60.0)
        hands.unsettle()
    return ""


def prepare_path(hands: Hands, action: act.PreparePath) -> str:
    done = hands.transport.run(volumes.host_path_command(action.path, action.type))
    if done.status != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        raise Failed("FailedMount", f"hostPath type check failed: {action.path} {said}")
    return ""


def remove_volumes(hands: Hands, action: act.RemoveVolumes) -> str:
    argv = volumes.remove_command(action.uid)
    envsecrets.remove(hands.api, action.uid)
    _shell(hands, argv, b"", 120.0)
    hands.unsettle()
    return ""


def _shell(hands: Hands, argv: list[str], stdin: bytes, timeout: float) -> None:
    done = hands.transport.run(argv, stdin=stdin, timeout=timeout)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise Failed("FailedMount", f"{said} (on {hands.transport.node})")


# --- pods ------------------------------------------------------------------------------------------------------------


def create_pod(hands: Hands, action: act.CreatePod) -> str:
    made = _create(hands, "pods", action.uid, action.payload)
    hands.made |= {made, str(action.payload.get("name", ""))}
    return made


def create_container(hands: Hands, action: act.CreateContainer) -> str:
    envsecrets.make(hands.api, action.secrets)
    try:
        made = _create(hands, "containers", action.uid, action.payload)
    except Refused:
        hands.present.pop(str(action.payload.get("image", "")), None)  # somebody may just have removed it
        raise
    hands.made |= {made, str(action.payload.get("name", ""))}
    return made


def keep_in_memory(hands: Hands, action: act.KeepInMemory) -> str:
    done = envsecrets.keep_in_memory(hands.api, hands.transport, action.id, action.directory)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise Failed("CreateContainerError", f"{said} (on {hands.transport.node})")
    return ""


def _create(hands: Hands, kind: str, uid: str, payload: Mapping[str, Any]) -> str:
    """The id of the new object, or of the existing one of this name that was made for the same pod."""
    labels = payload.get("labels") or {}
    if labels.get(POD_CLUSTER) != hands.cluster or labels.get(POD_UID) != uid:
        raise ValueError(f"a payload for {kind}/create needs the labels of cluster {hands.cluster} and pod {uid}")
    try:
        return str(hands.api.post(f"{kind}/create", payload, deadline=120.0)["Id"])
    except Refused as refused:
        if not any(text in refused.message for text in ("already exists", "already in use", "is in use")):
            raise
        name = str(payload.get("name", ""))
        existing = _inspect(hands, kind, name)
        found = _labels(existing)
        if found.get(POD_CLUSTER) == hands.cluster and found.get(POD_UID) == uid:
            return str(existing["Id"])
        message = f"the name {name} is taken on {hands.transport.node} by something that is not ours"
        raise Failed(_TABLE[act.CreatePod if kind == "pods" else act.CreateContainer][1], message) from None


def start_pod(hands: Hands, action: act.StartPod) -> str:
    try:
        hands.api.post(f"pods/{action.pod}/start", deadline=120.0)
    except Refused as refused:
        reason = "FailedCreatePodSandBox" if _is_network_trouble(refused.message) else "RunContainerError"
        raise Failed(reason, _plain(refused.message)) from None
    return ""


def start_container(hands: Hands, action: act.StartContainer) -> str:
    try:
        hands.api.post(f"containers/{action.id}/start", deadline=120.0)
    except Refused as refused:
        raise Failed("RunContainerError", _plain(refused.message)) from None
    return ""


def _is_network_trouble(message: str) -> bool:
    return any(word in message for word in ("IPAM", "netavark", "aardvark", "network namespace", "address already in"))


def _plain(message: str) -> str:
    """The message without "starting container <64 hex digits>: ", which tells a user nothing."""
    return "; ".join(_STARTING.sub("", part) for part in message.split("; "))


def drain_pod(hands: Hands, action: act.DrainPod) -> str:
    if _is_ours(hands, "pods", action.pod):
        podending.drain(hands.api, hands.transport, action.pod, action.seconds)
    return ""


def run_hook(hands: Hands, action: act.RunHook) -> str:
    if not _is_ours(hands, "containers", action.call.container):
        raise Failed("FailedPostStartHook", podending.hook_message(action.call, "the container is gone"))
    answer = probeclient.carry_out(hands.api, hands.transport, action.call)
    if not answer.ok:
        raise Failed("FailedPostStartHook", podending.hook_message(action.call, answer.message))
    return ""


def stop_container(hands: Hands, action: act.StopContainer) -> act.Notes:
    hooks = {} if action.hook is None else {action.id: action.hook}
    return podending.stop(hands.api, hands.transport, _ours(hands, [action.id]), [], action.grace, hooks)


def stop_pod(hands: Hands, action: act.StopPod) -> act.Notes:
    first, last = _ours(hands, action.containers), _ours(hands, action.last)
    return podending.stop(hands.api, hands.transport, first, last, action.grace, dict(action.hooks))


def _ours(hands: Hands, containers: Iterable[str]) -> list[str]:
    return [container for container in containers if _is_ours(hands, "containers", container)]


def remove_container(hands: Hands, action: act.RemoveContainer) -> str:
    if _is_ours(hands, "containers", action.id):
        _remove(hands, f"containers/{action.id}", v=True)
        hands.made.discard(action.id)
    return ""


def remove_pod(hands: Hands, action: act.RemovePod) -> str:
    if _is_ours(hands, "pods", action.pod):
        _remove(hands, f"pods/{action.pod}")
        hands.made.discard(action.pod)
    return ""


def _remove(hands: Hands, path: str, **params: Any) -> None:
    try:
        answer = hands.api.delete(path, deadline=90.0, force=True, timeout=0, **params)
    except Refused as refused:
        if refused.status == 404:
            return
        raise
    entries = answer if isinstance(answer, list) else [answer]
    errors = [str(entry["Err"]) for entry in entries if isinstance(entry, Mapping) and entry.get("Err")]
    if errors:
        raise Failed("FailedKillPod", "; ".join(errors))


# --- ours or not -------------------------------------------------------------------------------------------------


def _is_ours(hands: Hands, kind: str, name: str) -> bool:
    """Whether the object carries this cluster's label; False where it is gone. Raises Failed for any other object: it
    must never be touched."""
    if name in hands.made:
        return True
    try:
        existing = _inspect(hands, kind, name)
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    if _labels(existing).get(POD_CLUSTER) != hands.cluster:
        raise Failed("FailedKillPod", f"{name} on {hands.transport.node} is not ours and is left alone")
    return True


def _inspect(hands: Hands, kind: str, name: str) -> dict[str, Any]:
    return dict(hands.api.get(f"{kind}/{name}/json"))


def _labels(inspected: Mapping[str, Any]) -> Mapping[str, str]:
    return inspected.get("Labels") or (inspected.get("Config") or {}).get("Labels") or {}


_TABLE: dict[type, tuple[Callable[[Hands, Any], str | act.Notes], str]] = {
    act.EnsureNetwork: (ensure_network, "NetworkNotReady"),
    act.SetLinks: (set_links, "NetworkNotReady"),
    act.SetRules: (set_rules, "NetworkNotReady"),
    act.SetPolicies: (set_policies, "NetworkNotReady"),
    act.SetZone: (set_zone, "NetworkNotReady"),
    act.EnsureImage: (ensure_image, "ErrImagePull"),
    act.WriteVolumes: (write_volumes, "FailedMount"),
    act.PreparePath: (prepare_path, "FailedMount"),
    act.CreatePod: (create_pod, "FailedCreatePodSandBox"),
    act.CreateContainer: (create_container, "CreateContainerError"),
    act.KeepInMemory: (keep_in_memory, "CreateContainerError"),
    act.StartPod: (start_pod, "RunContainerError"),
    act.StartContainer: (start_container, "RunContainerError"),
    act.StopContainer: (stop_container, "FailedKillPod"),
    act.StopPod: (stop_pod, "FailedKillPod"),
    act.DrainPod: (drain_pod, "FailedKillPod"),
    act.RunHook: (run_hook, "FailedPostStartHook"),
    act.RemoveContainer: (remove_container, "FailedKillPod"),
    act.RemovePod: (remove_pod, "FailedKillPod"),
    act.RemoveVolumes: (remove_volumes, "FailedUnmount"),
}
"""Action type -> its executor, and the default reason for its failure."""
