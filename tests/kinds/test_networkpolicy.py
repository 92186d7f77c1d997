"""NetworkPolicies as users write them: defaults, what is refused, what is warned of, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api import schema
from ktool.api.obj import Obj
from ktool.api.world import World
from ktool.kinds.networkpolicy import KIND, SCHEMA, describe
from ktool.present import sheet
from tests.everykind import KINDS

NOW = 1_700_000_000.0


def made(name: str = "one", **spec: Any) -> Obj:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2023-11-14T22:08:20Z"}
    obj = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    assert schema.check(SCHEMA, obj) == []
    return KIND.rules.default(schema.default(SCHEMA, obj))  # type: ignore[misc]


def refused(obj: Obj) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in KIND.rules.validate(obj, None)]  # type: ignore[misc]


def test_the_names_users_type() -> None:
    for word in ("netpol", "networkpolicies", "networkpolicy.networking.k8s.io", "NetworkPolicy"):
        assert KINDS.find(word) is KIND


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
        ({"policyTypes": [], "egress": [{}]}, ["Ingress", "Egress"]),
    ],
)
def test_policy_types_follow_from_the_rules(spec: Any, types: list[str]) -> None:
    found = made(**spec)
    assert found["spec"]["policyTypes"] == types and found["spec"]["podSelector"] == {}
    assert KIND.rules.default(found) is found  # type: ignore[misc]


def test_protocol_is_tcp_and_a_policy_without_spec_denies_all_ingress() -> None:
    assert made(ingress=[{"ports": [{"port": 80}]}])["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    bare = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "one"}}
    assert KIND.rules.default(bare)["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}  # type: ignore[misc]


def ingress(**rule: Any) -> Obj:
    return {"ingress": [rule]}


def block(cidr: str, *parts: str) -> Obj:
    return {"egress": [{"to": [{"ipBlock": {"cidr": cidr, "except": [*parts]}}]}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        ingress(),
        ingress(ports=[{"port": "web"}, {"port": 1, "endPort": 65535}, {"protocol": "SCTP"}]),
        ingress(
            **{"from": [{"podSelector": {}}, {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}
        ),
        block("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"),
        block("10.1.2.3/8"),
        block("2001:db8::/64", "2001:db8::/65"),
    ],
)
def test_right(spec: Any) -> None:
    assert refused(made(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"policyTypes": ["ingress"]}, "spec.policyTypes[0]", "must be one of Ingress, Egress"),
        ({"policyTypes": ["Ingress", "Egress", "Ingress"]}, "spec.policyTypes", "more than two"),
        ({"podSelector": {"matchLabels": {"a b": "c"}}}, "spec.podSelector.matchLabels", "letters"),
        (ingress(ports=[{"port": 0}]), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (ingress(ports=[{"port": 65536}]), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (ingress(ports=[{"port": "a_b"}]), "spec.ingress[0].ports[0].port", "lower case"),
        (
            ingress(ports=[{"port": 80, "endPort": 79}]),
            "spec.ingress[0].ports[0].endPort",
            "greater than or equal to `port`",
        ),
        (ingress(ports=[{"port": 80, "endPort": 65536}]), "spec.ingress[0].ports[0].endPort", "between 1 and 65535"),
        (ingress(ports=[{"port": "web", "endPort": 90}]), "spec.ingress[0].ports[0].endPort", "non-numeric"),
        (ingress(ports=[{"endPort": 90}]), "spec.ingress[0].ports[0].endPort", "`port` is not specified"),
        (ingress(**{"from": [{}]}), "spec.ingress[0].from[0]", "must specify a peer"),
        (
            ingress(**{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}),
            "spec.ingress[0].from[0]",
            "may not specify both ipBlock and another peer",
        ),
        (
            ingress(**{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values",
            "is required with operator In",
        ),
        (block("10.0.0.0"), "spec.egress[0].to[0].ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0/33"), "spec.egress[0].to[0].ipBlock.cidr", "must be a valid CIDR value"),
        (block("010.0.0.0/8"), "spec.egress[0].to[0].ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0/255.0.0.0"), "spec.egress[0].to[0].ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0/8; drop"), "spec.egress[0].to[0].ipBlock.cidr", "must be a valid CIDR value"),
        (block("10.0.0.0/8", "x"), "spec.egress[0].to[0].ipBlock.except[0]", "must be a valid CIDR value"),
        (
            block("10.0.0.0/8", "11.0.0.0/16"),
            "spec.egress[0].to[0].ipBlock.except[0]",
            "must be a strict subset of `cidr`",
        ),
        (
            block("10.0.0.0/8", "10.0.0.0/8"),
            "spec.egress[0].to[0].ipBlock.except[0]",
            "must be a strict subset of `cidr`",
        ),
        (block("10.0.0.0/8", "::/1"), "spec.egress[0].to[0].ipBlock.except[0]", "must be a strict subset of `cidr`"),
    ],
)
def test_wrong(spec: Any, path: str, words: str) -> None:
    (found,) = refused(made(**spec))
    assert found[0] == path and words in found[1]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"podselector": {}}, "spec.podselector"),
        (ingress(to=[]), "spec.ingress[0].to"),
        (ingress(ports=[{"protocol": "ICMP"}]), "spec.ingress[0].ports[0].protocol"),
        (ingress(**{"from": [{"ipBlock": {}}]}), "spec.ingress[0].from[0].ipBlock.cidr"),
        (ingress(**{"from": {"podSelector": {}}}), "spec.ingress[0].from"),
    ],
)
def test_of_another_shape(spec: Any, path: str) -> None:
    obj = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "one"}, "spec": spec}
    assert [cause.field for cause in schema.check(SCHEMA, obj)] == [path]


def test_a_block_of_ipv6_is_right_and_warned_of() -> None:
    (said,) = KIND.rules.warn(made(**block("::/0")))  # type: ignore[misc]
    assert said.startswith("spec.egress[0].to[0].ipBlock.cidr: ") and "::/0 matches nobody" in said
    assert KIND.rules.warn(made(**block("0.0.0.0/0"))) == []  # type: ignore[misc]


@pytest.mark.parametrize(
    ("selector", "cell"),
    [
        ({}, "<none>"),
        ({"matchLabels": {"app": "web"}}, "app=web"),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}]}, "tier in (a,b)"),
    ],
)
def test_columns(selector: Any, cell: str) -> None:
    assert [column.cell(made(podSelector=selector), NOW) for column in KIND.looks.columns] == ["one", cell, "5m"]


def test_it_is_described_as_kubectl_does() -> None:
    blocks = {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}}
    peers = [blocks, {"namespaceSelector": {"matchLabels": {"project": "mine"}}, "podSelector": {}}]
    rules = [{"from": peers, "ports": [{"port": 6379}]}, {"ports": [{"port": 8000, "endPort": 8100}]}]
    obj = made(podSelector={"matchLabels": {"role": "db"}}, ingress=rules, policyTypes=["Ingress"])
    assert (
        sheet.text(describe(obj, World([obj]), 0.0))
        == """\
Name:         one
Namespace:    default
Created on:   Tue, 14 Nov 2023 22:08:20 +0000
Labels:       <none>
Annotations:  <none>
Spec:
  PodSelector:     role=db
  Allowing ingress traffic:
    To Port: 6379/TCP
    From:
      IPBlock:
        CIDR: 172.17.0.0/16
        Except: 172.17.1.0/24
    From:
      NamespaceSelector: project=mine
      PodSelector: <none>
    ----------
    To Port: 8000-8100/TCP
    From: <any> (traffic not restricted by source)
  Not affecting egress traffic
  Policy Types: Ingress
"""
    )
    closed = sheet.text(describe(made(policyTypes=["Egress"]), World([]), 0.0))
    assert "PodSelector:     <none> (Allowing the specific traffic to all pods in this namespace)" in closed
    assert "<none> (Selected pods are isolated for egress connectivity)" in closed
