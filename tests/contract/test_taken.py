"""What only one object can have is refused to a second one, by every way of asking for it."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import SERVICE, Ref
from ktool.registry.client import Client

FIRST = {"clusterIP": "10.96.3.3", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}


def service(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    body = {"ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def node(name: str, subnet: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {"ktool.dev/connection": "simulated://"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"podCIDR": subnet}}


def refused(call: Any, *args: Any) -> list[tuple[str, str]]:
    with pytest.raises(ApiError) as found:
        call(*args)
    assert found.value.code == 422 and found.value.reason == "Invalid"
    return [(cause.field.partition("].")[2] or cause.field, cause.message) for cause in found.value.causes]


@pytest.mark.parametrize("verb", ["create", "apply", "update", "patch"])
@pytest.mark.parametrize(
    ("wanted", "path", "value"),
    [
        ({"clusterIP": "10.96.3.3"}, "spec.clusterIP", "10.96.3.3"),
        ({"type": "NodePort", "ports": [{"port": 81, "nodePort": 30080}]}, "spec.ports[0].nodePort", "30080"),
    ],
    ids=["address", "node-port"],
)
def test_a_service(client: Client, verb: str, wanted: dict[str, Any], path: str, value: str) -> None:
    client.create(service("first", **FIRST))
    second = service("second", **wanted)
    if verb in ("update", "patch"):
        made = client.create(service("second"))
        change = {**made, "spec": {**made["spec"], **second["spec"]}}
        call = (client.update, change) if verb == "update" else (client.patch, Ref.of(made), {"spec": wanted})
    else:
        call = (client.create, second) if verb == "create" else (client.apply, [second])
    ((field, message),) = refused(*call)
    assert message == f"{value} is already allocated to service default/first; leave it out and a free one is given"
    assert field.endswith(path.rpartition("].")[2])


def test_two_of_one_apply(client: Client) -> None:
    found = refused(client.apply, [service("first", **FIRST), service("second", **FIRST)])
    assert len(found) == 2
    assert client.list(SERVICE).items == []


def test_what_one_has_itself_or_both_protocols_have_is_free(client: Client) -> None:
    made = client.create(service("first", **FIRST))
    client.update({**made, "spec": {**made["spec"], "sessionAffinity": "ClientIP"}})
    assert client.apply([service("first", **FIRST)])[0].outcome in ("configured", "unchanged")
    datagrams = [{"port": 80, "protocol": "UDP", "nodePort": 30080}]
    client.create(service("second", type="NodePort", ports=datagrams))
    client.create(service("headless", clusterIP="None"))
    client.create(service("bare", clusterIP="None"))


@pytest.mark.parametrize(
    ("subnet", "words"),
    [
        pytest.param("10.244.7.0/24", "overlaps 10.244.7.0/24 of node n1", id="the-same"),
        pytest.param("10.244.7.128/25", "overlaps 10.244.7.0/24 of node n1", id="inside"),
        pytest.param("10.244.0.0/20", "overlaps 10.244.7.0/24 of node n1", id="around"),
        pytest.param("10.96.128.0/24", "overlaps the range of services, 10.96.0.0/16", id="services"),
    ],
)
def test_subnets_of_nodes(client: Client, subnet: str, words: str) -> None:
    client.create(node("n1", "10.244.7.0/24"))
    ((field, message),) = refused(client.create, node("n2", subnet))
    assert field == "spec.podCIDR" and words in message
    client.create(node("n2", "10.244.8.0/24"))
