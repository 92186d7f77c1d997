"""v1 Endpoints, the API before EndpointSlices: derived from managed slices, and mirrored to slices where written by
hand.

kinds/endpoints and kinds/endpointslice plan with it. Source: kubernetes.io/docs/concepts/services-networking/service
(Endpoints, EndpointSlice mirroring).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from ktool.api.marks import ENDPOINTS_MANAGED_BY, HEADLESS, OVER_CAPACITY, SERVICE_NAME, SLICE_MANAGED_BY
from ktool.api.obj import Obj, content_hash, get, joined_name, labels, name, namespace, owner_reference, uid
from ktool.logic.network.endpoints import ready

CONTROLLER = "endpoint-controller"
MIRROR = "endpointslicemirroring-controller.k8s.io"
MOST_ADDRESSES = 1000
"""The most addresses one object has; what is more is left out and said in an annotation."""


def endpoints_for(service: Obj, slices: Iterable[Obj]) -> Obj:
    """The Endpoints object with the content of a service's slices."""
    subsets: dict[tuple[tuple[Any, ...], ...], Obj] = {}
    count = 0
    for piece in sorted(slices, key=name):
        ports = [dict(port) for port in piece.get("ports") or ()]
        key = tuple(sorted((str(port.get("name") or ""), port["protocol"], port["port"]) for port in ports))
        for endpoint in piece.get("endpoints") or ():
            usable = ready(endpoint)
            if not usable and get(endpoint, "conditions", "terminating"):
                continue  # the old controller leaves out pods that are ending
            count += 1
            if count <= MOST_ADDRESSES:
                subset = subsets.setdefault(key, {"ports": ports})
                subset.setdefault("addresses" if usable else "notReadyAddresses", []).append(_address(endpoint))
    metadata: Obj = {
        "name": name(service),
        "namespace": namespace(service),
        "labels": {**labels(service), ENDPOINTS_MANAGED_BY: CONTROLLER, **_headless(slices)},
        "ownerReferences": [owner_reference(service)],
    }
    if count > MOST_ADDRESSES:
        metadata["annotations"] = {OVER_CAPACITY: "truncated"}
    ordered = [_ordered(subset) for _, subset in sorted(subsets.items())]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": ordered}


def _headless(slices: Iterable[Obj]) -> dict[str, str]:
    return {HEADLESS: ""} if any(HEADLESS in labels(piece) for piece in slices) else {}


def _address(endpoint: Obj) -> Obj:
    found: Obj = {"ip": endpoint["addresses"][0]}
    return found | {key: endpoint[key] for key in ("hostname", "nodeName", "targetRef") if endpoint.get(key)}


def _ordered(subset: Obj) -> Obj:
    def by_ip(address: Obj) -> tuple[int, str]:
        return int(ip_address(address["ip"])), str(get(address, "targetRef", "uid"))

    lists: Obj = {key: sorted(subset[key], key=by_ip) for key in ("addresses", "notReadyAddresses") if key in subset}
    return {**lists, "ports": subset["ports"]}


def is_ours(endpoints: Obj) -> bool:
    return labels(endpoints).get(ENDPOINTS_MANAGED_BY) == CONTROLLER


def mirrored(endpoints: Obj) -> list[Obj]:
    """The slices that mirror hand-written Endpoints: one for each subset."""
    made = []
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        entries = [_endpoint(address, True) for address in subset.get("addresses") or ()]
        entries += [_endpoint(address, False) for address in subset.get("notReadyAddresses") or ()]
        if entries:
            made.append(_slice(endpoints, index, entries[:MOST_ADDRESSES], subset.get("ports") or []))
    return made


def _endpoint(address: Obj, usable: bool) -> Obj:
    kept = {key: address[key] for key in ("hostname", "nodeName", "targetRef") if address.get(key)}
    return {"addresses": [address["ip"]], "conditions": {"ready": usable}, **kept}


def _slice(endpoints: Obj, index: int, entries: list[Obj], ports: list[Obj]) -> Obj:
    marks = {SERVICE_NAME: name(endpoints), SLICE_MANAGED_BY: MIRROR}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": joined_name(name(endpoints), content_hash([uid(endpoints), index], 5)),
            "namespace": namespace(endpoints),
            "labels": {**labels(endpoints), **marks},
            "ownerReferences": [owner_reference(endpoints)],
        },
        "addressType": "IPv4",
        "endpoints": entries,
        "ports": [{"name": "", "protocol": "TCP", **port} for port in ports],
    }
