"""resolv.conf of pods: what each dnsPolicy and dnsConfig becomes, and what may not get into it."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.rules.podrules import validate_pod_spec
from ktool.logic.pod.poddns import resolv_conf, resolver
from ktool.logic.pod.podenv import ConfigError

CLUSTER = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]
CONFIG = {
    "nameservers": ["192.0.2.1", "10.96.0.10"],
    "searches": ["example.com", "cluster.local"],
    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
}


def pod(**spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        pytest.param({}, ["10.96.0.10"], CLUSTER, ["ndots:5"], id="nothing-said"),
        pytest.param({"dnsPolicy": "ClusterFirst"}, ["10.96.0.10"], CLUSTER, ["ndots:5"], id="cluster-first"),
        pytest.param(
            {"dnsPolicy": "ClusterFirstWithHostNet"}, ["10.96.0.10"], CLUSTER, ["ndots:5"], id="with-host-net"
        ),
        pytest.param(
            {"dnsConfig": CONFIG},
            ["10.96.0.10", "192.0.2.1"],
            [*CLUSTER, "example.com"],
            ["ndots:2", "edns0"],
            id="config-added",
        ),
        pytest.param({"dnsPolicy": "Default"}, None, None, None, id="the-nodes-own"),
        pytest.param(
            {"dnsPolicy": "Default", "dnsConfig": {"options": [{"name": "rotate"}]}},
            None,
            None,
            ["rotate"],
            id="default-with-options",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}},
            ["192.0.2.1"],
            ["."],
            None,
            id="none-has-no-search-list",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": CONFIG},
            ["192.0.2.1", "10.96.0.10"],
            ["example.com", "cluster.local"],
            ["ndots:2", "edns0"],
            id="none-is-the-config-alone",
        ),
    ],
)
def test_policies(spec: Any, servers: Any, searches: Any, options: Any) -> None:
    found = resolver(pod(**spec))
    assert (found.get("dns_server"), found.get("dns_search"), found.get("dns_option")) == (servers, searches, options)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"nameservers": ["1.1.1.1\nnameserver 6.6.6.6"]}, "spec.dnsConfig.nameservers[0]"),
        ({"nameservers": ["10.0.0.1"] * 4}, "spec.dnsConfig.nameservers"),
        ({"searches": ["a.b", "a\nnameserver 6.6.6.6"]}, "spec.dnsConfig.searches[1]"),
        ({"searches": ["a.b"] * 33}, "spec.dnsConfig.searches"),
        ({"options": [{"name": "ndots", "value": "5\nnameserver 6.6.6.6"}]}, "spec.dnsConfig.options[0].value"),
        ({"options": [{"name": "a b"}]}, "spec.dnsConfig.options[0].name"),
    ],
)
def test_what_is_no_word_of_resolv_conf_is_refused(config: Any, path: str) -> None:
    causes = validate_pod_spec({"containers": [{"name": "a", "image": "a"}], "dnsConfig": config})
    assert [cause.field for cause in causes] == [path]


def test_an_ordinary_config_is_fine() -> None:
    assert not validate_pod_spec({"containers": [{"name": "a", "image": "a"}], "dnsConfig": CONFIG})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, "", id="the-nodes-own"),
        pytest.param({"dnsPolicy": "ClusterFirst"}, "", id="cluster-first-is-the-nodes-own"),
        pytest.param(
            {"dnsPolicy": "ClusterFirstWithHostNet"},
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
            id="with-host-net",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}, "nameserver 192.0.2.1\n", id="none"
        ),
        pytest.param(
            {"dnsPolicy": "Default", "dnsConfig": CONFIG},
            "search example.com cluster.local\nnameserver 192.0.2.1\nnameserver 10.96.0.10\noptions ndots:2 edns0\n",
            id="config",
        ),
    ],
)
def test_a_pod_on_its_nodes_network_gets_a_file(spec: dict[str, Any], expected: str) -> None:
    assert resolv_conf(pod(hostNetwork=True, **spec)) == expected
    assert resolv_conf(pod(**spec)) == ""


def test_the_nodes_servers_with_something_added_are_refused_on_its_network() -> None:
    with pytest.raises(ConfigError, match="must have nameservers"):
        resolv_conf(pod(hostNetwork=True, dnsConfig={"searches": ["example.com"]}))
