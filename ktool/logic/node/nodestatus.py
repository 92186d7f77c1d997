"""Node status: capacity, versions, addresses, announcements and the conditions Ready and NetworkUnavailable.

nodeplane/nodeloop writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ktool import __version__
from ktool.api.action import Action, Emit, Patch, Status
from ktool.api.marks import ARCHITECTURE, CONNECTION, MTU
from ktool.api.obj import (
    Obj,
    annotations_of,
    deleting,
    get,
    is_true,
    labels,
    name,
    uid,
    with_condition,
)
from ktool.api.ref import Ref
from ktool.logic.network import links
from ktool.logic.network.nodefields import answers, is_simulated, silent_since
from ktool.logic.node.nodeaction import Failures, NodeFacts, NodeInfo

_UNREACHABLE = "NodeStatusUnknown"
NETWORK_CONDITION = "NetworkUnavailable"
"""The condition of a Node that tells of its network (core/v1 NodeConditionType): True is bad."""

_LONGEST = 300
SILENCE = 50.0
"""Seconds that a node may be silent before its pods count as not Ready: kube-controller-manager's
--node-monitor-grace-period."""


def described(node: Obj, info: NodeInfo, now: float) -> list[Action]:
    """Record a node's properties, read at connect."""
    pods = "1000" if annotations_of(node).get(CONNECTION, "").startswith("simulated:") else "110"
    capacity = {"cpu": str(info.cpu), "memory": f"{info.memory // 1024}Ki", "pods": pods}
    addresses = [{"type": "InternalIP", "address": address} for address in info.addresses]
    status = {
        **get(node, "status", default={}),
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [*addresses, {"type": "Hostname", "address": info.hostname}],
        "nodeInfo": {
            "machineID": info.machine_id,
            "bootID": info.boot_id,
            "kernelVersion": info.kernel,
            "osImage": info.os_image,
            "architecture": info.architecture,
            "operatingSystem": "linux",
            "containerRuntimeVersion": info.runtime_version,
            "kubeletVersion": f"v{__version__}",
            "kubeProxyVersion": "",
            "systemUUID": info.machine_id,
        },
    }
    return [*_answering(node, status, info.boot_id, now), *_labelled(node, info)]


def _labelled(node: Obj, info: NodeInfo) -> list[Action]:
    """Set the well-known labels and the annotation that only the machine itself can determine."""
    notes: dict[str, str | None] = {MTU: str(info.mtu)} if info.mtu else {}
    if labels(node).get(ARCHITECTURE) == info.architecture and not _differs(node, notes):
        return []
    patch = {"metadata": {"labels": {ARCHITECTURE: info.architecture}, "annotations": notes}}
    return [Patch(Ref.of(node), patch, uid(node))]


def _differs(node: Obj, notes: Mapping[str, str | None]) -> bool:
    """Whether one of the annotations is not what the node has."""
    return any(annotations_of(node).get(key) != value for key, value in notes.items())


def announced(node: Obj, facts: NodeFacts) -> list[Action]:
    """Publish on the Node how it reaches others and is reached."""
    notes = links.announced(facts.links, facts.key, facts.met)
    if is_simulated(node) or deleting(node) or not _differs(node, notes):
        return []
    return [Patch(Ref.of(node), {"metadata": {"annotations": notes}}, uid(node))]


def ready(node: Obj, boot_id: str, now: float, failures: Failures | None = None) -> list[Action]:
    """Ready: the node was observed just now, in the boot with this id. `failures`: those of the node's own settings, in
    the form of nodeplan; None where nothing was tried."""
    status = get(node, "status", default={})
    if failures is not None and not is_simulated(node):
        value, reason, message = network_condition(failures)
        conditions = with_condition(status.get("conditions", []), NETWORK_CONDITION, value, now, reason, message)
        status = {**status, "conditions": conditions}
    if boot_id and status.get("nodeInfo"):
        status = {**status, "nodeInfo": {**status["nodeInfo"], "bootID": boot_id}}
    return _answering(node, status, boot_id, now)


def network_condition(failures: Failures) -> tuple[str, str, str]:
    """Status, reason and message of NETWORK_CONDITION. `failures` in the form of nodeplan; those without a pod uid are
    the node's own."""
    own = {key: failure for key, failure in failures.items() if not key[0]}
    if not own:
        return "False", "NetworkReady", "pod network, routes, service rules and names were set without an error"
    text = "; ".join(f"{failure.step}: {failure.message}" for _, failure in sorted(own.items()))
    return "True", "NetworkNotReady", text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _answering(node: Obj, status: Obj, boot_id: str, now: float) -> list[Action]:
    actions = _changed(node, _with_ready(status, "True", now, "NodeReady", "the node answers and takes pods"))
    if boot_id and get(node, "status", "nodeInfo", "bootID", default=boot_id) != boot_id:
        text = f"Node {name(node)} has been rebooted, boot id: {boot_id}"
        actions.append(Emit(Ref.of(node), "Rebooted", text, "Warning", uid(node)))
    return actions


def unreachable(node: Obj, message: str, now: float) -> list[Action]:
    """Not answering (Ready is Unknown): what runs there keeps running, and nothing new is sent to it."""
    status = _with_ready(get(node, "status", default={}), "Unknown", now, _UNREACHABLE, message)
    actions = _changed(node, status)
    if actions and answers(node):
        actions.append(Emit(Ref.of(node), "NodeNotReady", f"Node {name(node)}: {message}", "Warning", uid(node)))
    return actions


def out_of_service(node: Obj, pods: Iterable[Obj], now: float) -> list[Action]:
    """Mark the pods of a node that has been silent for too long as not Ready: services then send to other endpoints,
    whatever still runs there. The next observation corrects it.
    (kubernetes.io/docs/concepts/architecture/nodes/#condition)"""
    since = silent_since(node)
    if not since or now - since < SILENCE:
        return []
    actions: list[Action] = []
    for pod in pods:
        if is_true(pod, "Ready"):
            conditions = pod["status"]["conditions"]
            conditions = with_condition(
                conditions, "Ready", "False", now, "NodeNotReady", f"Node {name(node)} is not ready"
            )
            actions.append(Status(Ref.of(pod), {**pod["status"], "conditions": conditions}, uid(pod)))
            actions.append(Emit(Ref.of(pod), "NodeNotReady", "Node is not ready", "Warning", uid(pod)))
    return actions


def _with_ready(status: Obj, value: str, now: float, reason: str, message: str) -> Obj:
    return {**status, "conditions": with_condition(status.get("conditions", []), "Ready", value, now, reason, message)}


def _changed(node: Obj, status: Obj) -> list[Action]:
    return [Status(Ref.of(node), status, uid(node))] if status != node.get("status") else []
