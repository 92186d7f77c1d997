"""EndpointSlices (discovery.k8s.io/v1): the endpoints of a Service from its pods, with their ports and conditions.

kinds/service plans with it; kinds/endpoints, kinds/endpointslice, logic/network and nodeplane/netview read slices with
it. Source: kubernetes.io/docs/concepts/services-networking/endpoint-slices; k8s.io/endpointslice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ktool.api.marks import HEADLESS, SERVICE_NAME, SLICE_MANAGED_BY
from ktool.api.obj import (
    Obj,
    content_hash,
    deleting,
    get,
    is_true,
    joined_name,
    labels,
    name,
    namespace,
    owner_reference,
    uid,
)
from ktool.api.pod import app_containers, finished, node_of
from ktool.api.shapes.service import is_headless, ports_of
from ktool.logic.pod.podfields import host_network

CONTROLLER = "endpointslice-controller.k8s.io"

MOST = 1000
"""The most endpoints one slice may have (discovery/v1)."""

Ports = tuple[tuple[str, str, int, str], ...]
"""(name, protocol, number, appProtocol)"""


def slices_for(service: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """The slices of a service with a selector, sorted by name. `pods`: those its selector matches. Pods whose named
    ports differ are in separate slices; a service without pods has one empty slice."""
    publish = bool(get(service, "spec", "publishNotReadyAddresses", default=False))
    groups: dict[Ports, list[Obj]] = {}
    for pod in sorted(pods, key=lambda pod: (name(pod), uid(pod))):
        if _counts(pod):
            ports = _ports(service, pod)
            groups.setdefault(ports, []).append(_endpoint(service, pod, publish))
    if not groups:
        groups[_ports(service, {})] = []
    made = [
        _slice(service, ports, endpoints[start : start + MOST], start)
        for ports, endpoints in groups.items()
        for start in range(0, max(1, len(endpoints)), MOST)
    ]
    return sorted(made, key=name)


def _counts(pod: Obj) -> bool:
    """Whether the pod can be an endpoint: it has an address and has not ended."""
    if not get(pod, "status", "podIP") or not node_of(pod):
        return False
    return not finished(pod)


def _endpoint(service: Obj, pod: Obj, publish: bool) -> Obj:
    serving, ending = is_true(pod, "Ready"), deleting(pod)
    endpoint: Obj = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": publish or (serving and not ending), "serving": serving, "terminating": ending},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)},
    }
    hostname = get(pod, "spec", "hostname")
    if hostname and get(pod, "spec", "subdomain") == name(service):
        endpoint["hostname"] = hostname
    return endpoint


def _ports(service: Obj, pod: Obj) -> Ports:
    """The target ports of the service in this pod; a named port that the pod lacks is left out."""
    found = []
    for port in ports_of(service):
        number = port.get("targetPort") or port["port"]
        if isinstance(number, str):
            number = _named(pod, number, port.get("protocol", "TCP"))
        if number:
            found.append((port.get("name") or "", port.get("protocol", "TCP"), number, port.get("appProtocol") or ""))
    return tuple(found)


def _named(pod: Obj, wanted: str, protocol: str) -> int:
    for container in app_containers(pod):
        for port in container.get("ports") or ():
            if port.get("name") == wanted and port.get("protocol", "TCP") == protocol:
                on_host = host_network(pod) and port.get("hostPort")
                return int(port["hostPort"] if on_host else port["containerPort"])
    return 0


def _slice(service: Obj, ports: Ports, endpoints: list[Obj], start: int) -> Obj:
    marks = {
        SERVICE_NAME: name(service),
        SLICE_MANAGED_BY: CONTROLLER,
        **({HEADLESS: ""} if is_headless(service) else {}),
    }
    own = [uid(service), *map(list, ports), start]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": joined_name(name(service), content_hash(own, 5)),
            "namespace": namespace(service),
            "labels": {**labels(service), **marks},
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [_port(*port) for port in ports],
    }


def _port(name_: str, protocol: str, number: int, app: str) -> Obj:
    port: dict[str, Any] = {"name": name_, "protocol": protocol, "port": number}
    return {**port, "appProtocol": app} if app else port


# --- reading -----------------------------------------------------------------------------------------------------


def is_ours(slice_: Obj) -> bool:
    """Whether the controller manages the slice; all others were written by hand."""
    return labels(slice_).get(SLICE_MANAGED_BY) == CONTROLLER


def kept_for(service: Obj, slices: Iterable[Obj]) -> list[Obj]:
    """The slices that the controller manages for a service; none where it has no selector (any more)."""
    return [one for one in slices if is_ours(one)] if get(service, "spec", "selector") else []


def service_of(slice_: Obj) -> str:
    return labels(slice_).get(SERVICE_NAME, "")


def ready(endpoint: Obj) -> bool:
    """Whether the endpoint is ready. An absent condition counts as true (discovery/v1 EndpointConditions)."""
    return get(endpoint, "conditions", "ready", default=True) is True


def terminating(slices: Iterable[Obj]) -> dict[str, bool]:
    """Pod uid -> whether every managed slice with the pod marks it as terminating."""
    found: dict[str, bool] = {}
    for slice_ in slices:
        for endpoint in slice_.get("endpoints") or () if is_ours(slice_) else ():
            own = str(get(endpoint, "targetRef", "uid", default=""))
            found[own] = found.get(own, True) and get(endpoint, "conditions", "terminating") is True
    return found


def serving_while_ending(endpoint: Obj) -> bool:
    """Whether the endpoint serves while terminating: for new connections only if no endpoint is ready."""
    conditions = endpoint.get("conditions") or {}
    return conditions.get("serving") is True and conditions.get("terminating") is True
