"""Service rules on a real node: set, read back, changed without forgetting clients, and gone with the node."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ktool.logic import policy
from ktool.logic.balance import frontends, render
from ktool.logic.isolation import isolated
from ktool.logic.nodeaction import SetPolicies, SetRules
from tests.logic.test_balance import many
from tests.logic.test_policy import many as many_policies
from tests.podman.support import Node, done

pytestmark = pytest.mark.podman


def action(services: list[Any], slices: list[Any]) -> SetRules:
    made = render(frontends(services, slices), "node1")
    return SetRules(made.text, made.hash, made.flows)


def test_rules_are_set_read_back_and_replaced(node: Node) -> None:
    two, one = action(*many(2, 2)), action(*many(1, 3))
    done(node.runtime.perform(two))
    assert node.runtime.observe().rules == two.hash
    done(node.runtime.perform(two))
    assert node.runtime.observe().rules == two.hash
    done(node.runtime.perform(one))
    assert node.runtime.observe().rules == one.hash
    listed = node.shell("nft list table ip ktool-svc")
    assert "svc-default/s0/tcp/80" in listed and "s1" not in listed


def test_what_nft_refuses_changes_nothing_and_is_said(node: Node) -> None:
    good = action(*many(1, 1))
    done(node.runtime.perform(good))
    before = node.shell("nft list table ip ktool-svc")
    failure = node.runtime.perform(SetRules(good.text.replace("jump services", "jump nowhere"), "abc")).failure
    assert failure is not None and failure.reason == "NetworkNotReady" and "nft on" in failure.message
    assert node.shell("nft list table ip ktool-svc") == before
    assert node.runtime.observe().rules == good.hash
    stale = node.runtime.perform(SetRules(good.text, "abc")).failure
    assert stale is not None and "not what was set" in stale.message


@pytest.mark.parametrize(
    "harm",
    ["nft flush ruleset", "nft flush table ip ktool-svc", "echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables"],
    ids=["firewall-reload", "rules-flushed", "answers-pass-by"],
)
def test_damage_is_seen_and_repaired(node: Node, harm: str) -> None:
    good = action(*many(1, 1))
    done(node.runtime.perform(good))
    node.shell(harm)
    node.runtime._unsettle()
    assert node.runtime.observe().rules == ""
    done(node.runtime.perform(good))
    assert node.runtime.observe().rules == good.hash


def test_a_change_keeps_the_clients_of_endpoints_that_stay(node: Node) -> None:
    services, slices = many(1, 2)
    services[0]["spec"]["sessionAffinity"] = "ClientIP"
    done(node.runtime.perform(action(services, slices)))
    kept, gone = (f"aff-default/s0/tcp/80/{one['addresses'][0]}/8080/10800" for one in slices[0]["endpoints"])
    for clients in (kept, gone):
        node.shell(f"nft add element ip ktool-svc {clients} '{{ 192.0.2.7 }}'")
    slices[0]["endpoints"].pop()
    done(node.runtime.perform(action(services, slices)))
    assert "192.0.2.7" in node.shell(f"nft list set ip ktool-svc {kept}")
    assert gone not in node.shell("nft list table ip ktool-svc")


def test_a_thousand_services_are_loaded_and_replaced_in_seconds(node: Node) -> None:
    first, second = action(*many(1000, 10)), action(*many(1000, 9))
    for rules in (first, second):
        began = time.monotonic()
        done(node.runtime.perform(rules))
        assert time.monotonic() - began < 10
        assert node.runtime.observe().rules == rules.hash
    done(node.runtime.perform(action([], [])))


# --- network policies --------------------------------------------------------------------------------------------


def policies(count: int) -> SetPolicies:
    found, pods, spaces = many_policies()
    made = policy.render(isolated(found[:count], pods, spaces, {})["n1"])
    return SetPolicies(made.text, made.hash, made.pods)


def test_policies_are_set_read_back_repaired_and_removed(node: Node) -> None:
    all_, some = policies(200), policies(20)
    for wanted in (some, all_, all_, some):
        began = time.monotonic()
        done(node.runtime.perform(wanted))
        assert time.monotonic() - began < 10
        assert node.runtime.observe().policies == wanted.hash
    node.shell("nft flush table ip ktool-pol")
    node.runtime._unsettle()
    assert node.runtime.observe().policies == ""
    done(node.runtime.perform(some))
    assert node.runtime.observe().policies == some.hash
    failure = node.runtime.perform(SetPolicies(some.text.replace("vmap @egress", "vmap @none"), "abc")).failure
    assert failure is not None and failure.reason == "NetworkNotReady" and "nft on" in failure.message
    assert node.runtime.observe().policies == some.hash
    done(node.runtime.perform(SetPolicies("", "")))
    assert node.runtime.observe().policies == ""
    assert "ktool-pol" not in node.shell("nft list tables")
