"""Namespace, Node, ConfigMap, Event and Lease: what is accepted, put in by default and shown."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ktool.api import schema
from ktool.api.errors import Cause
from ktool.api.kind import Kind
from ktool.api.ref import CONFIG_MAP, NODE, POD, GroupKind, Ref
from ktool.api.world import World
from tests.everykind import KINDS

NOW = 1_700_000_000.0


def admitted(obj: dict[str, Any], old: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[Cause]]:
    """An object after shape, defaults and validation, as the registry does it."""
    kind = KINDS[GroupKind.of(obj)]
    assert schema.check(kind.schema, obj) == []
    obj = schema.default(kind.schema, obj)
    obj = kind.rules.default(obj) if kind.rules.default else obj
    return obj, kind.rules.validate(obj, old) if kind.rules.validate else []


def row(obj: dict[str, Any], wide: bool = False) -> dict[str, str]:
    kind = KINDS[GroupKind.of(obj)]
    return {column.name: column.cell(obj, NOW) for column in kind.looks.columns if wide or not column.wide}


@pytest.mark.parametrize(
    "word, kind",
    [
        ("ns", "Namespace"),
        ("no", "Node"),
        ("cm", "ConfigMap"),
        ("ev", "Event"),
        ("leases.coordination.k8s.io", "Lease"),
    ],
)
def test_the_names_users_type(word: str, kind: str) -> None:
    found = KINDS.find(word)
    assert found is not None and found.name == kind


def test_a_namespace_is_applied_before_what_is_in_it() -> None:
    order = [kind.name for kind in sorted(KINDS, key=lambda kind: kind.apply_order)]
    assert order.index("Namespace") < order.index("ConfigMap") < order.index("Pod")


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.name)
def test_every_cell_of_an_empty_object_is_a_text(kind: Kind) -> None:
    obj = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "x", "namespace": "default"}}
    for column in kind.looks.columns:
        if column.name != "SELECTOR":  # spec.selector is required
            assert isinstance(column.cell(obj, NOW), str), column.name


# --- Namespace ---------------------------------------------------------------------------------------------------


def namespace(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **metadata}}


def test_a_new_namespace_is_kept_until_it_is_empty() -> None:
    obj, causes = admitted(namespace())
    assert causes == []
    assert obj["spec"] == {"finalizers": ["kubernetes"]}
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert admitted(obj)[0] is obj


def test_an_emptied_namespace_does_not_get_its_finalizer_back() -> None:
    obj = {**namespace(uid="u", deletionTimestamp="2023-11-14T22:00:00Z"), "spec": {"finalizers": []}}
    assert admitted(obj)[0]["spec"] == {"finalizers": []}


def test_the_name_of_a_namespace_is_a_dns_label() -> None:
    assert [cause.field for cause in admitted(namespace(name="a.b"))[1]] == ["metadata.name"]


def test_namespace_columns() -> None:
    obj = {**namespace(creationTimestamp="2023-11-14T22:12:00Z"), "status": {"phase": "Terminating"}}
    assert row(obj) == {"NAME": "shop", "STATUS": "Terminating", "AGE": "80s"}


# --- ConfigMap ---------------------------------------------------------------------------------------------------


def config(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, **members}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CONFIG_REFUSED = {
    "key": (config(data={"a b": "1"}), "data[a b]"),
    "key-dots": (config(data={"..": "1"}), "data[..]"),
    "key-long": (config(binaryData={"k" * 254: ""}), "binaryData["),
    "twice": (config(data={"a": "1"}, binaryData={"a": b64(b"1")}), "binaryData[a]: the same key stands in data"),
    "too-large": (
        config(data={"a": "x" * 700_000}, binaryData={"b": b64(b"x" * 400_000)}),
        "no more than 1048576 bytes",
    ),
    "large-in-bytes-not-letters": (config(data={"a": "ä" * 600_000}), "not 1200000"),
}


@pytest.mark.parametrize("obj, expected", CONFIG_REFUSED.values(), ids=CONFIG_REFUSED)
def test_config_maps_refused(obj: dict[str, Any], expected: str) -> None:
    said = [str(cause) for cause in admitted(obj)[1]]
    assert len(said) == 1
    assert expected in said[0]


def test_a_config_map_of_one_mebibyte_is_accepted() -> None:
    assert admitted(config(data={"a.conf": "x" * 2**20, "_b-c.D": ""}))[1] == []


def test_an_empty_value_in_yaml_is_the_empty_text() -> None:
    assert admitted(config(data={"a": None}))[0]["data"] == {"a": ""}


@pytest.mark.parametrize("value", ["not base64!", "YQ", 5], ids=str)
def test_binary_data_is_base64(value: Any) -> None:
    causes = schema.check(KINDS[CONFIG_MAP].schema, config(binaryData={"a": value}))
    assert [cause.field for cause in causes] == ["binaryData[a]"]


@pytest.mark.parametrize(
    "change, fields",
    [
        ({"data": {"a": "1"}, "immutable": True}, []),
        ({"data": {"a": "2"}, "immutable": True}, ["data"]),
        ({"data": {"a": "1"}, "binaryData": {"b": ""}, "immutable": True}, ["binaryData"]),
        ({"data": {"a": "1"}}, ["immutable"]),
        ({"data": {"a": "1"}, "immutable": False}, ["immutable"]),
    ],
)
def test_an_immutable_config_map(change: dict[str, Any], fields: list[str]) -> None:
    old = config(data={"a": "1"}, immutable=True)
    assert [cause.field for cause in admitted(config(**change), old)[1]] == fields


def test_config_map_columns_count_all_keys() -> None:
    assert row(config(data={"a": "1"}, binaryData={"b": ""}))["DATA"] == "2"


# --- Node --------------------------------------------------------------------------------------------------------


def node(name: str = "n1", connection: str = "", **members: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = (
        {"name": name, "annotations": {"ktool.dev/connection": connection}} if connection else {"name": name}
    )
    return {"apiVersion": "v1", "kind": "Node", "metadata": {**metadata, **members.pop("metadata", {})}, **members}


def test_a_new_node_has_the_labels_selectors_expect_and_stays_until_it_is_clean() -> None:
    obj, causes = admitted(node(connection="ssh://root@10.0.0.2:22"))
    assert causes == []
    assert obj["metadata"]["labels"] == {"kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux"}
    assert obj["metadata"]["finalizers"] == ["ktool.dev/node"]
    assert admitted(obj)[0] is obj


def test_labels_and_finalizers_the_user_chose_stay() -> None:
    metadata = {"labels": {"kubernetes.io/hostname": "other", "zone": "a"}, "finalizers": ["x.dev/y"]}
    obj, _ = admitted(node(metadata=metadata))
    assert obj["metadata"]["labels"]["kubernetes.io/hostname"] == "other"
    assert obj["metadata"]["labels"]["zone"] == "a"
    assert obj["metadata"]["finalizers"] == ["x.dev/y", "ktool.dev/node"]


def test_a_node_that_was_let_go_does_not_get_its_finalizer_back() -> None:
    obj = node(metadata={"uid": "u", "finalizers": []})
    assert admitted(obj)[0]["metadata"]["finalizers"] == []


NODE_REFUSED = {
    "connection": (node(connection="http://x"), None, "must begin with ssh://, local://, simulated://"),
    "taint-key": (node(spec={"taints": [{"key": "a b", "effect": "NoSchedule"}]}), None, "spec.taints[0].key"),
    "taint-twice": (
        node(
            spec={"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]}
        ),
        None,
        "there are two taints a with NoSchedule",
    ),
    "subnet": (node(spec={"podCIDR": "10.244.1.7/24"}), None, "must be a subnet"),
    "subnet-changed": (
        node(spec={"podCIDR": "10.244.2.0/24"}),
        node(spec={"podCIDR": "10.244.1.0/24"}),
        "may not be changed from 10.244.1.0/24",
    ),
    "subnet-removed": (node(spec={}), node(spec={"podCIDR": "10.244.1.0/24"}), "may not be changed"),
}


@pytest.mark.parametrize("obj, old, expected", NODE_REFUSED.values(), ids=NODE_REFUSED)
def test_nodes_refused(obj: dict[str, Any], old: Any, expected: str) -> None:
    said = [str(cause) for cause in admitted(obj, old)[1]]
    assert len(said) == 1
    assert expected in said[0]


def ready(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status}]}


SIMULATED = {"labels": {"ktool.dev/simulated": "true"}}


@pytest.mark.parametrize(
    "obj, status",
    [
        (node(), "Unknown"),
        (node(status=ready("True")), "Ready"),
        (node(status=ready("False")), "NotReady"),
        (node(status=ready("Unknown")), "NotReady"),
        (node(status=ready("True"), metadata=SIMULATED), "Ready,Simulated"),
        (node(status=ready("True"), spec={"unschedulable": True}), "Ready,SchedulingDisabled"),
    ],
)
def test_node_status(obj: dict[str, Any], status: str) -> None:
    assert row(obj)["STATUS"] == status


def test_node_columns() -> None:
    obj = node(
        metadata={
            "creationTimestamp": "2023-11-11T22:13:20Z",
            "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/edge": ""},
        },
        status={
            **ready("True"),
            "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.2"}],
            "nodeInfo": {"osImage": "Debian 12", "kernelVersion": "6.1", "containerRuntimeVersion": "podman://4.3.1"},
        },
    )
    assert row(obj, wide=True) == {
        "NAME": "n1",
        "STATUS": "Ready",
        "ROLES": "edge,worker",
        "AGE": "3d",
        "VERSION": "<unknown>",
        "INTERNAL-IP": "10.0.0.2",
        "EXTERNAL-IP": "<none>",
        "OS-IMAGE": "Debian 12",
        "KERNEL-VERSION": "6.1",
        "CONTAINER-RUNTIME": "podman://4.3.1",
    }


@pytest.mark.parametrize("simulated", [False, True], ids=["real", "simulated"])
def test_plans_on_one_world_never_give_a_subnet_twice(simulated: bool) -> None:
    labels = SIMULATED if simulated else {}
    nodes = [
        node(f"n{number:02}", metadata={**labels, "creationTimestamp": f"2023-11-14T22:00:{number % 7:02}Z"}, spec={})
        for number in range(40)
    ]
    nodes[3]["spec"]["podCIDR"] = "100.64.8.0/22" if simulated else "10.244.5.0/24"
    world = World(nodes)
    plan = KINDS[NODE].controller.plan
    assert plan is not None
    given = [nodes[3]["spec"]["podCIDR"]]
    for obj in nodes:
        given += [action.patch["spec"]["podCIDR"] for action in plan(obj, world, NOW).actions]  # type: ignore[union-attr]
    assert len(set(given)) == len(given) == 40


def test_a_node_that_is_gone_wakes_those_without_a_subnet() -> None:
    waiting, served = node("a"), node("b", spec={"podCIDR": "10.244.0.0/24"})
    world = World([waiting, served])
    watch = next(watch for watch in KINDS[NODE].controller.watches if watch.gk == NODE)
    assert list(watch.wakes(node("gone", spec={"podCIDR": "10.244.1.0/24"}), world)) == [Ref(NODE, "", "a")]
    assert list(watch.wakes(served, world)) == []


def test_a_pod_put_on_a_leaving_node_wakes_the_node() -> None:
    leaving = node("a", metadata={"deletionTimestamp": "2023-11-14T22:00:00Z"})
    watch = next(watch for watch in KINDS[NODE].controller.watches if watch.gk == POD)
    pod = {"kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {"nodeName": "a"}}
    assert list(watch.wakes(pod, World([leaving]))) == [Ref(NODE, "", "a")]
    assert list(watch.wakes(pod, World([node("a")]))) == []
    assert list(watch.wakes({**pod, "spec": {}}, World([leaving]))) == []


def test_node_progress() -> None:
    progress = KINDS[NODE].controller.progress
    assert progress is not None
    assert not progress(node(status=ready("True")), World()).done
    assert progress(node(status=ready("True"), spec={"podCIDR": "10.244.0.0/24"}), World()).done
    lost = {"conditions": [{"type": "Ready", "status": "Unknown", "message": "connection refused"}]}
    assert "connection refused" in progress(node(status=lost), World()).message


# --- Event and Lease ---------------------------------------------------------------------------------------------


def event(**members: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "default", "name": "web", "fieldPath": "spec.containers{web}"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": about,
        "reason": "Started",
        "message": "Started container web\n",
        "type": "Normal",
        "source": {"component": "kubelet", "host": "n1"},
        **members,
    }


def test_event_columns() -> None:
    seen = event(firstTimestamp="2023-11-14T22:03:20Z", lastTimestamp="2023-11-14T22:13:15Z", count=3)
    assert row(seen, wide=True) == {
        "LAST SEEN": "5s",
        "TYPE": "Normal",
        "REASON": "Started",
        "OBJECT": "pod/web",
        "SUBOBJECT": "spec.containers{web}",
        "SOURCE": "kubelet, n1",
        "MESSAGE": "Started container web",
        "FIRST SEEN": "10m",
        "COUNT": "3",
        "NAME": "web.1",
    }


def test_an_event_series_counts() -> None:
    seen = event(
        series={"count": 7, "lastObservedTime": "2023-11-14T22:13:19.000000Z"}, eventTime="2023-11-14T22:11:20Z"
    )
    cells = row(seen, wide=True)
    assert (cells["LAST SEEN"], cells["COUNT"], cells["FIRST SEEN"]) == ("1s", "7", "2m")


def test_an_event_is_in_the_namespace_of_what_it_is_about() -> None:
    obj = event(involvedObject={"kind": "Pod", "namespace": "other", "name": "web"})
    assert [cause.field for cause in admitted(obj)[1]] == ["involvedObject.namespace"]
    assert admitted(event(involvedObject={"kind": "Node", "name": "n1"}))[1] == []


def test_lease_columns() -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "ktool", "namespace": "kube-system"},
        "spec": {"holderIdentity": "host 12", "renewTime": "2023-11-14T22:13:19.123456Z", "leaseTransitions": 4},
    }
    assert admitted(lease)[1] == []
    assert row(lease) == {"NAME": "ktool", "HOLDER": "host 12", "AGE": "<unknown>"}
