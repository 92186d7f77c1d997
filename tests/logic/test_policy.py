"""Network policies of a node against golden texts: tests/golden/policy/<case>.yaml gives {node, policies, pods,
namespaces, held}, <case>.nft is what must come of it. Every one of them is also given to the real nft."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ktool.api import schema
from ktool.kinds import networkpolicy
from ktool.logic.network.isolation import isolated
from ktool.logic.network.policy import TABLE, Policies, render
from tests.logic.policymodel import DNS, Judge, allowed, pod, policy, space, table

GOLDEN = Path(__file__).parent.parent / "golden" / "policy"
CASES = [pytest.param(path, id=path.stem) for path in sorted(GOLDEN.glob("*.yaml"))]


def of(path: Path) -> Policies:
    case = yaml.safe_load(path.read_text())
    for one in case["policies"]:
        assert schema.check(networkpolicy.SCHEMA, whole(one)) == []
        assert networkpolicy.KIND.rules.validate(whole(one), None) == []  # type: ignore[misc]
    policies = [policy(one["name"], one.get("namespace", "default"), **one["spec"]) for one in case["policies"]]
    spaces = [space(name, labels) for name, labels in case.get("namespaces", {"default": {}}).items()]
    return table(policies, [pod(one) for one in case["pods"]], spaces, case["node"], case.get("held"))


def whole(one: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": one["name"]}}
    return {**head, "spec": one["spec"]}


@pytest.mark.parametrize("path", CASES)
def test_text(path: Path) -> None:
    made = of(path)
    assert made.text == path.with_suffix(".nft").read_text()
    assert not made.hash or f'comment "{made.hash}"' in made.text


def test_there_are_cases() -> None:
    assert len(CASES) > 10


@pytest.mark.podman
def test_nft_takes_them() -> None:
    # Twice: what is there already must be no reason to refuse it.
    texts = [param.values[0].with_suffix(".nft").read_text() for param in CASES]  # type: ignore[attr-defined]
    text = "".join(f"add table ip {TABLE}\ndelete table ip {TABLE}\n{one}{one}" for one in texts)
    each = ["unshare", "--net", "nft", "-f", "-"]
    done = subprocess.run(each, input=text.encode(), capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()


def test_pods_that_are_to_have_an_address_are_isolated_before_they_say_so() -> None:
    waiting = pod({"name": "web", "node": "n1", "labels": {}})
    deny = policy("deny", podSelector={})
    assert table([deny], [waiting], [space("default")], "n1") == Policies("", "", frozenset())
    made = table([deny], [waiting], [space("default")], "n1", {"uid-web": "10.244.1.2"})
    assert made.pods == {"uid-web"} and "10.244.1.2 : drop" in made.text


def test_two_hundred_policies_over_a_thousand_pods_in_less_than_a_second() -> None:
    policies, pods, spaces = many()
    began = time.process_time()
    found = isolated(policies, pods, spaces, {})
    tables = [render(found[node]) for node in sorted(found)]
    assert time.process_time() - began < 1.0
    assert sum(len(one.pods) for one in tables) == 1000


def many() -> tuple[list[Any], list[Any], list[Any]]:
    """200 policies over 1,000 pods of 20 namespaces on 4 nodes: each selects a few pods and lets in some of its own
    namespace, of others and of outside, with ports and names of ports; one in ten is for a whole namespace."""
    spaces = [space(f"ns{number}", {"team": f"t{number % 5}"}) for number in range(20)]
    pods = [
        pod(
            {
                "name": f"p{number}",
                "namespace": f"ns{number % 20}",
                "node": f"n{number % 4 + 1}",
                "ip": f"10.244.{number % 4 + 1}.{number // 4 + 2}",
                "labels": {"app": f"a{number // 20 % 10}", "tier": f"t{number % 3}", "hash": f"h{number % 100}"},
                "ports": {"web": 8000 + number % 3},
            }
        )
        for number in range(1000)
    ]
    policies = []
    for number in range(200):
        peers: list[Any] = [
            {"podSelector": {"matchLabels": {"app": f"a{(number + 1) % 10}"}}},
            {"namespaceSelector": {"matchLabels": {"team": f"t{number % 5}"}}},
            {
                "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
                "podSelector": {"matchLabels": {"tier": f"t{number % 3}"}},
            },
            {"ipBlock": {"cidr": f"192.0.{number}.0/24", "except": [f"192.0.{number}.128/25"]}},
        ]
        ports = [{"port": 80, "protocol": "TCP"}, {"port": 6000, "endPort": 6100}, {"port": "web"}]
        selector = {"matchLabels": {"app": f"a{number // 20}"}} if number % 10 else {}
        dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
        rules: dict[str, Any] = {"ingress": [{"from": peers[:3], "ports": ports}, {"from": peers[3:]}]}
        rules["egress"] = [dns, {"to": peers, "ports": ports}]
        policies.append(policy(f"p{number}", f"ns{number % 20}", podSelector=selector, **rules))
    return policies, pods, spaces


# --- the rules say what the documentation says -------------------------------------------------------------------

LABELS = st.fixed_dictionaries({}, optional={"app": st.sampled_from(["a", "b"]), "tier": st.sampled_from(["x", "y"])})
SELECTOR = st.one_of(st.just({}), LABELS.map(lambda labels: {"matchLabels": labels}))
SPACES = ("default", "other", "kube-system")
CIDR = st.sampled_from(["0.0.0.0/0", "10.244.0.0/16", "10.244.1.0/24", "10.244.1.2/32", "192.0.2.0/24", "10.96.0.0/16"])
EXCEPT = st.lists(st.sampled_from(["10.244.1.2/31", "10.244.1.3/32", "192.0.2.128/25", "192.0.2.7/32"]), max_size=2)
PEER = st.one_of(
    st.fixed_dictionaries({"podSelector": SELECTOR}),
    st.fixed_dictionaries({"namespaceSelector": SELECTOR}, optional={"podSelector": SELECTOR}),
    st.fixed_dictionaries({"ipBlock": st.fixed_dictionaries({"cidr": CIDR, "except": EXCEPT})}),
)
PORT = st.one_of(
    st.fixed_dictionaries(
        {"protocol": st.sampled_from(["TCP", "UDP"])},
        optional={"port": st.sampled_from([53, 80, 81]), "endPort": st.just(90)},
    ).filter(lambda port: "port" in port or "endPort" not in port),
    st.just({"protocol": "TCP", "port": "web"}),
)


def rules(who: str) -> st.SearchStrategy[Any]:
    rule = st.fixed_dictionaries({}, optional={who: st.lists(PEER, max_size=2), "ports": st.lists(PORT, max_size=2)})
    return st.lists(rule, max_size=2)


SPEC = st.fixed_dictionaries(
    {"podSelector": SELECTOR},
    optional={
        "ingress": rules("from"),
        "egress": rules("to"),
        "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    },
)
PODS = st.lists(
    st.fixed_dictionaries(
        {
            "namespace": st.sampled_from(SPACES),
            "labels": LABELS,
            "node": st.sampled_from(["n1", "n2"]),
            "ports": st.sampled_from([{}, {"web": 80}, {"web": 81}]),
        }
    ),
    min_size=1,
    max_size=5,
)


@given(
    found=PODS,
    specs=st.lists(st.tuples(st.sampled_from(SPACES), SPEC), max_size=4),
    spaces=st.fixed_dictionaries(dict.fromkeys(SPACES, LABELS)),
    connection=st.tuples(
        st.integers(0, 6), st.integers(0, 6), st.sampled_from(["TCP", "UDP"]), st.sampled_from([53, 80, 81, 85])
    ),
)
def test_a_connection_passes_where_the_documentation_lets_it(
    found: Any, specs: Any, spaces: Any, connection: Any
) -> None:
    pods = [{**one, "name": f"p{i}", "ip": f"10.244.{one['node'][1]}.{i + 2}"} for i, one in enumerate(found)]
    policies = [policy(f"n{i}", name, **spec) for i, (name, spec) in enumerate(specs)]
    around = [space(name, labels) for name, labels in spaces.items()]
    ends = [*pods, DNS, "192.0.2.7", "203.0.113.1"]
    here, there, protocol, port = connection
    source, target = ends[here % len(ends)], ends[there % len(ends)]
    if source is DNS or (isinstance(source, str) and (target is DNS or isinstance(target, str))):
        return
    expected = allowed(policies, pods, {one["metadata"]["name"]: one for one in around}, source, target, protocol, port)
    addresses = [end["ip"] if isinstance(end, dict) else end for end in (source, target)]
    passed = [
        Judge(made.text).lets(addresses[0], addresses[1], protocol, port)
        for node in {end["node"] for end in (source, target) if isinstance(end, dict) and end["node"]}
        if (made := table(policies, [pod(one) for one in pods], around, node)).text
    ]
    assert all(passed) == expected


# --- nothing of an object gets into the text unseen --------------------------------------------------------------

ADDRESS = r"\d{1,3}(\.\d{1,3}){3}"
LINES = re.compile(
    "|".join(
        (
            r"    (chain|set) (ingress|egress|peers)-[0-9a-f]{16} \{|        type ipv4_addr; flags interval;",
            rf"            {ADDRESS}(-{ADDRESS})?,?|            {ADDRESS} \. {ADDRESS},?",
            r"        elements = \{|        \}",
            rf"            {ADDRESS} : (drop|goto (ingress|egress)-[0-9a-f]{{16}}),?",
            r"        (ip [sd]addr @peers-[0-9a-f]{16} )?(meta l4proto (tcp|udp|sctp) )?accept",
            r"        (ip [sd]addr @peers-[0-9a-f]{16} )?(tcp|udp|sctp) dport \{ [0-9, -]+ \} accept",
            r'        drop|        return comment "[0-9a-f]{16}"',
        )
    )
)
EVIL = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ['x"; flush ruleset; #', "a } table ip t {", "10.0.0.1; drop", "10.0.0.0/8 }", "a\nb", "..", "-", ""]
    ),
)
NUMBER = st.one_of(st.integers(-1, 70000), EVIL, st.none(), st.just(True))
EVIL_LABELS = st.dictionaries(EVIL, EVIL, max_size=2)
EVIL_PEER = st.fixed_dictionaries(
    {},
    optional={
        "podSelector": st.builds(lambda labels: {"matchLabels": labels}, EVIL_LABELS),
        "namespaceSelector": st.just({}),
        "ipBlock": st.fixed_dictionaries(
            {"cidr": st.one_of(EVIL, CIDR, st.sampled_from(["::/0", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0"]))},
            optional={"except": st.lists(st.one_of(EVIL, CIDR), max_size=2)},
        ),
    },
)
EVIL_PORT = st.fixed_dictionaries({}, optional={"protocol": EVIL, "port": NUMBER, "endPort": NUMBER})


@given(
    names=st.tuples(EVIL, EVIL, EVIL),
    found=EVIL_LABELS,
    address=st.one_of(EVIL, st.just("10.244.1.2")),
    peers=st.lists(EVIL_PEER, max_size=2),
    ports=st.lists(EVIL_PORT, max_size=2),
    named=st.dictionaries(EVIL, NUMBER, max_size=2),
)
def test_no_object_says_more_than_it_may(
    names: Any, found: Any, address: Any, peers: Any, ports: Any, named: Any
) -> None:
    name, own, node = names
    short = {"name": name, "namespace": own, "node": node, "ip": address, "labels": found, "ports": named}
    spec = {"podSelector": {}, "ingress": [{"from": peers, "ports": ports}], "egress": [{"to": peers, "ports": ports}]}
    other = pod({"name": "other", "namespace": own, "node": node, "ip": "10.244.1.3", "labels": {}})
    text = table([policy(name, own, **spec)], [pod(short), other], [space(own)], node).text
    fixed = set(
        table(
            [policy("x", podSelector={})], [pod({"name": "p", "node": "n", "ip": "1.1.1.1"})], [], "n"
        ).text.splitlines()
    )
    for line in text.splitlines():
        assert line in fixed or LINES.fullmatch(line), line


@given(block=EVIL, part=EVIL)
def test_a_block_that_is_none_is_refused_before_it_is_stored(block: str, part: str) -> None:
    for spec in ({"cidr": block}, {"cidr": "10.0.0.0/8", "except": [part]}):
        one = whole({"name": "x", "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": spec}]}]}})
        assert schema.check(networkpolicy.SCHEMA, one) or networkpolicy.KIND.rules.validate(one, None)  # type: ignore[misc]
