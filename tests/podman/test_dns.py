"""The name server of a real node: what is given to it is what a resolver there is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ktool.api.marks import ZONE_DIRECTORY
from ktool.logic.network.zone import SERVER, Zone, zone
from ktool.logic.node.nodeaction import SetZone
from ktool.node.network import nameservers
from tests.podman.support import Node, done, transport, until

pytestmark = pytest.mark.podman


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def slice_of(name: str, *endpoints: dict[str, Any], ports: list[Any] | None = None) -> dict[str, Any]:
    meta = {"name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}}
    return {"kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "endpoints": [*endpoints], "ports": ports}


HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
WEB = service("web", clusterIP="10.96.1.1", ports=[HTTP])
BARE = service("bare", clusterIP="None", ports=[HTTP])
ENDPOINTS = slice_of(
    "bare",
    {"addresses": ["10.244.101.5"], "conditions": {"ready": True}, "hostname": "one"},
    {"addresses": ["10.244.102.6"], "conditions": {"ready": True}},
    {"addresses": ["10.244.102.7"], "conditions": {"ready": False}},
    ports=[{**HTTP, "port": 8080}],
)
ALIAS = service("alias", type="ExternalName", externalName="web.shop.svc.cluster.local")
AWAY = service("away", type="ExternalName", externalName="db.example.com")
ALL = zone([WEB, BARE, ALIAS, AWAY], [ENDPOINTS])


def give(node: Node, wanted: Zone) -> None:
    done(node.runtime.perform(SetZone(wanted.hosts, wanted.config, wanted.hash, wanted.away)))


def dig(node: Node, *words: str) -> list[str]:
    return sorted(node.shell(f"dig @{SERVER} +short +tries=1 +time=2 {' '.join(words)}").splitlines())


def status(node: Node, name: str) -> str:
    found = re.search(r"status: (\w+)", node.shell(f"dig @{SERVER} +tries=1 +time=2 {name}"))
    return found[1] if found else ""


def pid(node: Node) -> str:
    return node.shell(f"cat {ZONE_DIRECTORY}/pid").strip()


@pytest.fixture
def served(node: Node) -> Iterator[Node]:
    """A node whose server answers ALL."""
    give(node, ALL)
    yield node


@pytest.mark.parametrize("tcp", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("web.shop.svc.cluster.local", ["10.96.1.1"]),
        ("-t AAAA web.shop.svc.cluster.local", []),
        ("bare.shop.svc.cluster.local", ["10.244.101.5", "10.244.102.6"]),
        ("one.bare.shop.svc.cluster.local", ["10.244.101.5"]),
        ("10-244-102-6.bare.shop.svc.cluster.local", ["10.244.102.6"]),
        ("-t SRV _http._tcp.web.shop.svc.cluster.local", ["0 100 80 web.shop.svc.cluster.local."]),
        (
            "-t SRV _http._tcp.bare.shop.svc.cluster.local",
            [
                "0 100 8080 10-244-102-6.bare.shop.svc.cluster.local.",
                "0 100 8080 one.bare.shop.svc.cluster.local.",
            ],
        ),
        ("-x 10.96.1.1", ["web.shop.svc.cluster.local."]),
        ("-x 10.244.101.5", ["one.bare.shop.svc.cluster.local."]),
        ("-x 10.244.102.6", ["10-244-102-6.bare.shop.svc.cluster.local."]),
        ("alias.shop.svc.cluster.local", ["10.96.1.1", "web.shop.svc.cluster.local."]),
        ("-t CNAME away.shop.svc.cluster.local", ["db.example.com."]),
        ("-t TXT dns-version.cluster.local", ['"1.1.0"']),
        (f"-x {SERVER}", ["kube-dns.kube-system.svc.cluster.local."]),
    ],
)
def test_every_kind_of_record_is_answered(served: Node, question: str, answer: list[str], tcp: str) -> None:
    assert dig(served, tcp, question) == answer


def test_what_there_is_not_is_said_at_once_and_not_asked_elsewhere(served: Node) -> None:
    assert status(served, "none.shop.svc.cluster.local") == "NXDOMAIN"
    assert status(served, "-x 10.244.102.7") == "NXDOMAIN"
    assert status(served, "shop.svc.cluster.local") == "NOERROR", "a name with names below it"


def test_answers_live_for_seconds_only(served: Node) -> None:
    for question in ("web.shop.svc.cluster.local", "-t SRV _http._tcp.web.shop.svc.cluster.local"):
        answer = served.shell(f"dig @{SERVER} +noall +answer {question}")
        assert int(answer.split()[1]) <= 5, answer


def test_every_change_is_answered_once_it_is_made_and_nothing_lingers(served: Node) -> None:
    before = pid(served)
    name = "web.shop.svc.cluster.local"
    for n in range(2, 8):
        ports = [{**HTTP, "port": 80 + n // 2}]
        give(served, zone([service("web", clusterIP=f"10.96.1.{n}", ports=ports)], []))
        assert until(lambda n=n: dig(served, name) == [f"10.96.1.{n}"], 1)
        assert dig(served, f"-t SRV _http._tcp.{name}") == [f"0 100 {80 + n // 2} {name}."]
        assert status(served, "bare.shop.svc.cluster.local") == "NXDOMAIN"
    give(served, ALL)
    assert until(lambda: len(dig(served, "bare.shop.svc.cluster.local")) == 2, 1)
    assert pid(served) == before, "the server that pods ask goes on"
    until(lambda: len(served.shell("pgrep -x dnsmasq").split()) == 2, 5)


def test_no_question_is_lost_while_records_change(served: Node) -> None:
    asking = "end=$(($(date +%s) + 8)); n=0; while [ $(date +%s) -lt $end ]; do "
    asking += f"[ $(dig @{SERVER} +short +tries=1 +time=1 web.shop.svc.cluster.local) = 10.96.1.1 ] || echo lost; "
    asking += "n=$((n + 1)); done; echo $n"
    with ThreadPoolExecutor(3) as pool:
        askers = [pool.submit(served.shell, asking) for _ in range(3)]
        for n in range(12):
            other = service("other", clusterIP="10.96.1.9", ports=[{**HTTP, "port": 81 + n}])
            give(served, zone([WEB, other], []))
        said = [asker.result() for asker in askers]
    assert all(text.strip().isdecimal() and int(text) > 20 for text in said), said


@pytest.mark.parametrize(
    "harm",
    [
        f"kill -KILL $(cat {ZONE_DIRECTORY}/pid)",
        f"pkill -KILL -f {ZONE_DIRECTORY}/config",
        "pkill -KILL -x dnsmasq",
        "pkill -KILL -x unbound",
        f"ip address delete {SERVER}/32 dev lo",
        f"rm -r {ZONE_DIRECTORY}",
    ],
    ids=["front-killed", "back-killed", "both-killed", "away-killed", "no-address", "no-files"],
)
def test_harm_is_seen_and_repaired(served: Node, harm: str) -> None:
    assert served.runtime.observe().zone == ALL.hash
    served.shell(harm)
    served.runtime._unsettle()
    assert served.runtime.observe().zone == ""
    give(served, ALL)
    assert served.runtime.observe().zone == ALL.hash
    assert dig(served, "web.shop.svc.cluster.local") == ["10.96.1.1"]


def test_other_names_go_to_the_nodes_own_servers(served: Node) -> None:
    upstream = "--port=53 --listen-address=127.0.0.8 --bind-interfaces --no-resolv --no-hosts --conf-file=/dev/null"
    upstream += " --pid-file=/run/upstream.pid --host-record=www.example.com,192.0.2.7"
    upstream += (
        " --local=/example.com/ --host-record=db.example.com,192.0.2.8 --host-record=other.example.com,192.0.2.9"
    )
    served.shell(
        f"dnsmasq {upstream} && cp /etc/resolv.conf /run/resolv.before && echo nameserver 127.0.0.8 >/etc/resolv.conf"
    )
    try:
        assert until(lambda: dig(served, "www.example.com")) == ["192.0.2.7"]
        away = "away.shop.svc.cluster.local"
        assert dig(served, away) == dig(served, "+tcp", away) == ["192.0.2.8", "db.example.com."]
        assert dig(served, "-t AAAA", away) == ["db.example.com."]
        moved = service("away", type="ExternalName", externalName="other.example.com")
        give(served, zone([WEB, moved], []))
        assert until(lambda: dig(served, away) == ["192.0.2.9", "other.example.com."], 2)
        give(served, zone([WEB], []))
        assert until(lambda: status(served, away) == "NXDOMAIN", 2)
        assert served.shell("pgrep -x unbound || true").strip() == "", "it runs only where it is needed"
    finally:
        served.shell("cat /run/resolv.before >/etc/resolv.conf; kill $(cat /run/upstream.pid)")


def test_a_refused_configuration_leaves_the_server_as_it_is(served: Node) -> None:
    failure = served.runtime.perform(SetZone("", "no-such-option\n", "bad")).failure
    assert failure is not None and "no-such-option" in failure.message.replace("bad option", "no-such-option")
    assert served.runtime.observe().zone == ALL.hash


def test_nothing_is_left_when_the_node_is_released(nodes: list[Node]) -> None:
    node = nodes[1]
    give(node, ALL)
    assert pid(node)
    other = transport(node.machine)
    try:
        nameservers.remove(other)
    finally:
        other.close()
    assert SERVER not in node.shell("ip address show dev lo")
    assert node.shell(f"ls {ZONE_DIRECTORY} 2>/dev/null; pgrep -x 'dnsmasq|unbound' || true").strip() == ""


def test_five_thousand_names(node: Node) -> None:
    many = [service(f"s{n}", clusterIP=f"10.96.{2 + n // 250}.{1 + n % 250}", ports=[HTTP]) for n in range(5000)]
    give(node, zone(many, []))
    asked = "seq 0 4999 | sed 's/.*/s&.shop.svc.cluster.local/' >/run/asked"
    answers = node.shell(f"{asked}; dig @{SERVER} +short +tries=1 +time=2 -f /run/asked").splitlines()
    assert answers == [f"10.96.{2 + n // 250}.{1 + n % 250}" for n in range(5000)]
