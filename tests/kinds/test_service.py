"""Services and EndpointSlices as users write them: defaults, what is refused, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api import schema
from ktool.api.errors import Cause
from ktool.kinds import endpointslice, service

NOW = 1_700_000_000.0


def made(name: str = "web", **spec: Any) -> dict[str, Any]:
    body = {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2023-11-14T22:08:20Z"}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}
    assert schema.check(service.SCHEMA, obj) == []
    obj = schema.default(service.SCHEMA, obj)
    return service.KIND.rules.default(obj)  # type: ignore[misc]


def refused(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
    return service.KIND.rules.validate(new, old)  # type: ignore[misc]


def test_defaults() -> None:
    spec = made()["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("ClusterIP", "None", "Cluster")
    assert "externalTrafficPolicy" not in spec and "clusterIP" not in spec
    assert made(type="NodePort")["spec"]["externalTrafficPolicy"] == "Cluster"
    assert made(type="LoadBalancer")["spec"]["allocateLoadBalancerNodePorts"] is True
    assert made(clusterIP="None")["spec"]["clusterIPs"] == ["None"]
    assert made(sessionAffinity="ClientIP")["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 10800
    far = made(type="ExternalName", externalName="example.com", ports=[])["spec"]
    assert "internalTrafficPolicy" not in far
    whole = made(type="LoadBalancer")
    assert service.KIND.rules.default(whole) is whole, "what has its defaults is not touched"  # type: ignore[misc]


TWO = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"clusterIP": "None"},
        {"clusterIP": "None", "ports": []},
        {"clusterIP": "10.96.7.7"},
        {"ports": [{"port": 53, "protocol": "UDP", "name": "d"}, {"port": 53, "name": "t"}]},
        {"ports": [{"port": 80, "targetPort": "http"}]},
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]},
        {"type": "ExternalName", "externalName": "db.example.com.", "ports": []},
        {"externalIPs": ["192.0.2.80"], "externalTrafficPolicy": "Local"},
    ],
)
def test_right(spec: Any) -> None:
    assert refused(made(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"ports": []}, "spec.ports", "is required"),
        ({"ports": [{"port": 80}, {"name": "b", "port": 81}]}, "spec.ports[0].name", "several ports"),
        ({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}, "spec.ports[1]", "name a is there twice"),
        ({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}, "spec.ports[1]", "port 80 of TCP"),
        ({"ports": [{"name": "A_b", "port": 80}]}, "spec.ports[0].name", "lower case"),
        ({"ports": [{"port": 80, "targetPort": 70000}]}, "spec.ports[0].targetPort", "between 1 and 65535"),
        ({"ports": [{"port": 80, "targetPort": "a b"}]}, "spec.ports[0].targetPort", "lower case"),
        ({"ports": [{"port": 80, "nodePort": 30080}]}, "spec.ports[0].nodePort", "'ClusterIP'"),
        ({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}, "spec.ports[0].nodePort", "30000 and 32767"),
        (
            {"type": "NodePort", "ports": [{**one, "nodePort": 30080} for one in TWO]},
            "spec.ports[1].nodePort",
            "30080 is there twice",
        ),
        ({"clusterIP": "10.1.2.3"}, "spec.clusterIP", "10.96.0.0/16"),
        ({"clusterIP": "10.96.0.0"}, "spec.clusterIP", "10.96.0.0/16"),
        ({"clusterIP": "10.96.0.10"}, "spec.clusterIP", "DNS"),
        ({"clusterIP": "none"}, "spec.clusterIP", '"None" for a headless'),
        ({"clusterIP": "fd00::1"}, "spec.clusterIP", "IPv4"),
        ({"clusterIP": "10.96.1.1; drop"}, "spec.clusterIP", "IPv4"),
        ({"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.2"]}, "spec.clusterIPs", "the same"),
        ({"type": "NodePort", "clusterIP": "None"}, "spec.clusterIP", "NodePort"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilies", "IPv4 only"),
        ({"externalIPs": ["x"]}, "spec.externalIPs[0]", "IPv4"),
        ({"externalIPs": ["127.0.0.1"]}, "spec.externalIPs[0]", "loopback"),
        ({"externalTrafficPolicy": "Local"}, "spec.externalTrafficPolicy", "outside"),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}}}, "spec.sessionAffinityConfig", "None"),
        ({"type": "ExternalName", "ports": []}, "spec.externalName", "is required"),
        ({"type": "ExternalName", "externalName": "a b", "ports": []}, "spec.externalName", "lower case"),
        ({"selector": {"app": "a b"}}, "spec.selector[app]", "letters"),
    ],
)
def test_wrong(spec: Any, path: str, words: str) -> None:
    causes = refused(made(**spec))
    assert [cause.field for cause in causes] == [path]
    assert words in causes[0].message


@pytest.mark.parametrize("name", ["9web", "Web", "a.b", "-a", "a" * 64, 'x"; flush ruleset'])
def test_names_have_to_do_as_dns_labels(name: str) -> None:
    assert [cause.field for cause in refused(made(name))] == ["metadata.name"]


def test_an_address_stays() -> None:
    old = made(clusterIP="10.96.1.1")
    assert [cause.field for cause in refused(made(clusterIP="10.96.1.2"), old)] == ["spec.clusterIP"]
    assert [cause.field for cause in refused(made(clusterIP="None"), old)] == ["spec.clusterIP"]
    assert refused(made(), old) == [], "one that is left out is given again"
    assert refused(made(type="ExternalName", externalName="example.com", clusterIP="10.96.1.1"), old) == []


def test_a_node_port_that_its_type_has_no_more_is_no_mistake() -> None:
    port = {"port": 80, "nodePort": 30080}
    old = made(type="NodePort", ports=[port])
    assert refused(made(ports=[port]), old) == []
    assert refused(made(ports=[{**port, "nodePort": 30081}]), old) != []


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"clusterIP": "10.96.1.1"}, {}, ["web", "ClusterIP", "10.96.1.1", "<none>", "80/TCP", "5m", "app=web"]),
        (
            {"type": "NodePort", "clusterIP": "10.96.1.1", "ports": [{"port": 80, "nodePort": 30080}]},
            {},
            ["web", "NodePort", "10.96.1.1", "<none>", "80:30080/TCP", "5m", "app=web"],
        ),
        (
            {"type": "LoadBalancer", "clusterIP": "10.96.1.1"},
            {},
            ["web", "LoadBalancer", "10.96.1.1", "<pending>", "80/TCP", "5m", "app=web"],
        ),
        (
            {"type": "LoadBalancer", "clusterIP": "10.96.1.1", "externalIPs": ["203.0.113.9"]},
            {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]}},
            ["web", "LoadBalancer", "10.96.1.1", "192.0.2.1,192.0.2.2,203.0.113.9", "80/TCP", "5m", "app=web"],
        ),
        (
            {"type": "ExternalName", "externalName": "example.com", "ports": [], "selector": None},
            {},
            ["web", "ExternalName", "<none>", "example.com", "<none>", "5m", "<none>"],
        ),
    ],
    ids=["cluster-ip", "node-port", "pending", "load-balancer", "external-name"],
)
def test_columns(spec: Any, status: Any, cells: list[str]) -> None:
    found = {**made(**spec), "status": status}
    assert [column.cell(found, NOW) for column in service.KIND.looks.columns] == cells


def slice_(**fields: Any) -> dict[str, Any]:
    metadata = {"name": "web-1", "namespace": "default", "creationTimestamp": "2023-11-14T22:08:20Z"}
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": [], "ports": [{"port": 80}], **fields}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"endpoints": [{"addresses": []}]}, "endpoints[0].addresses"),
        ({"endpoints": [{"addresses": ["x"]}]}, "endpoints[0].addresses[0]"),
        ({"endpoints": [{"addresses": ["127.0.0.1"]}]}, "endpoints[0].addresses[0]"),
        ({"endpoints": [{"addresses": ["169.254.1.1"]}]}, "endpoints[0].addresses[0]"),
        ({"endpoints": [{"addresses": ["10.0.0.1"], "hostname": "A"}]}, "endpoints[0].hostname"),
        ({"addressType": "IPv6", "endpoints": [{"addresses": ["x"]}]}, "endpoints[0].addresses[0]"),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, "ports[1].name"),
        ({"ports": [{"name": "A"}]}, "ports[0].name"),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}, "endpoints"),
    ],
)
def test_slices_that_are_wrong(fields: Any, path: str) -> None:
    assert [cause.field for cause in endpointslice.validate(slice_(**fields), None)] == [path]


def test_slices_are_shown_as_kubectl_does() -> None:
    ends = [{"addresses": [f"10.244.1.{number}"]} for number in range(2, 7)]
    cells = [column.cell(slice_(endpoints=ends), NOW) for column in endpointslice.KIND.looks.columns]
    assert cells == ["web-1", "IPv4", "80", "10.244.1.2,10.244.1.3,10.244.1.4 + 2 more...", "5m"]
    empty = slice_(ports=[])
    assert [column.cell(empty, NOW) for column in endpointslice.KIND.looks.columns][2:4] == ["<unset>", "<unset>"]


@pytest.mark.parametrize(("selector", "wanted"), [({"app": "web", "tier": "front"}, "app=web,tier=front"), ({}, None)])
def test_its_pods_are_found_by_label_where_it_has_any(selector: dict[str, str], wanted: str | None) -> None:
    """Without a selector somebody else keeps its endpoints: no pod is its own, rather than every one."""
    assert service.KIND.selects is not None
    found = service.KIND.selects({"spec": {"selector": selector}})
    assert (found.text if found else None) == wanted
