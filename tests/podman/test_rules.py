"""Service rules on a real node: set, read back, changed without forgetting clients, and gone with the node."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from ktool.logic.network import policy
from ktool.logic.network.balance import frontends, render
from ktool.logic.network.isolation import isolated
from ktool.logic.node.nodeaction import SetPolicies, SetRules
from tests.logic.test_balance import many
from tests.logic.test_policy import many as many_policies
from tests.podman.support import Node, done, pod, until

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


_CLIENT = """
import socket, sys
def asked(own):
    client = socket.socket()
    client.settimeout(10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("", own))
    client.connect((sys.argv[1], 80))
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n")
    return client
first = asked(45678)
print("asked", flush=True)
sys.stdin.readline()
try:
    first.recv(1)
except ConnectionResetError:
    print("reset", flush=True)
first.close()
sys.stdin.readline()
print(asked(45678).recv(1000).decode().splitlines()[-1])
"""
"""A client that connects again from the same port after the server has reset the connection."""


def test_the_port_of_a_connection_that_was_reset_is_no_way_back_to_the_old_pod(node: Node) -> None:
    old = node.run(pod("old", restartPolicy="Never"), "10.244.101.21")
    node.run(pod("new"), "10.244.101.22")
    services, slices = many(1, 1)

    def lead_to(address: str) -> None:
        slices[0]["endpoints"] = [{"addresses": [address], "nodeName": "node1"}]
        done(node.runtime.perform(action(services, slices)))

    lead_to("10.244.101.21")
    own = old.containers[0].id
    until(lambda: node.exec(own, "wget", "-qO-", "http://127.0.0.1:8080/")[1])
    address = services[0]["spec"]["clusterIP"]
    enter = ["nsenter", "-t", str(node.machine.pid), "-n", sys.executable, "-c", _CLIENT, address]
    node.shell(f"podman pause {own}")  # what has been asked is not read, so its end resets the connection
    client = subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None and client.stdout is not None
    assert client.stdout.readline() == "asked\n"
    lead_to("10.244.101.22")
    node.shell(f"podman kill {own}; podman unpause {own}; podman rm -f --time 0 {own}")
    client.stdin.write("\n")
    client.stdin.flush()
    assert client.stdout.readline() == "reset\n"
    began = time.monotonic()
    said, _ = client.communicate("\n", timeout=30)
    assert said == "v1 new\n"
    assert time.monotonic() - began < 5


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
