"""Rules of a node against golden texts: tests/golden/balance/<case>.yaml gives {node, services, slices,
keptPorts}, <case>.nft is what must come of it. Every one of them is also given to the real nft."""

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
from ktool.kinds import endpointslice, service
from ktool.logic.network.balance import Rules, frontends, render

GOLDEN = Path(__file__).parent.parent / "golden" / "balance"
CASES = [pytest.param(path, id=path.stem) for path in sorted(GOLDEN.glob("*.yaml"))]


def rules(case: dict[str, Any]) -> Rules:
    found = frontends(case["services"], case["slices"])
    return render(found, case["node"], {(protocol, port) for protocol, port in case.get("keptPorts", ())})


@pytest.mark.parametrize("path", CASES)
def test_text(path: Path) -> None:
    made = rules(yaml.safe_load(path.read_text()))
    assert made.text == path.with_suffix(".nft").read_text()
    assert f'comment "{made.hash}"' in made.text


def test_there_are_cases() -> None:
    assert len(CASES) > 10


@pytest.mark.podman
@pytest.mark.parametrize("path", CASES)
def test_nft_takes_it(path: Path) -> None:
    text = path.with_suffix(".nft").read_bytes()
    # Twice: what is there already must be no reason to refuse it.
    for _ in range(2):
        done = subprocess.run(["unshare", "--net", "nft", "-f", "-"], input=text, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()


def test_the_hash_moves_with_the_text_and_only_then() -> None:
    case = yaml.safe_load((GOLDEN / "cluster-ip.yaml").read_text())
    first = rules(case)
    backwards = {**case, "services": case["services"][::-1], "slices": case["slices"][::-1]}
    assert rules(backwards) == first
    case["slices"][0]["endpoints"].pop()
    case["slices"][0]["endpoints"].pop()
    assert rules(case) == first, "endpoints that are not ready are of no concern"
    case["slices"][0]["endpoints"].pop()
    assert rules(case).hash != first.hash


def test_a_thousand_services_of_ten_endpoints_in_less_than_a_second() -> None:
    services, slices = many(1000, 10)
    began = time.process_time()
    made = render(frontends(services, slices), "node1")
    assert time.process_time() - began < 1.0
    assert made.text.count("dnat ip to") == 1000


def many(count: int, endpoints: int) -> tuple[list[Any], list[Any]]:
    services, slices = [], []
    for i in range(count):
        metadata = {
            "name": f"s{i}",
            "namespace": "default",
            "uid": f"u{i}",
            "creationTimestamp": "2023-11-14T22:00:00Z",
        }
        ports = [{"port": 80, "protocol": "TCP", "targetPort": 8080}]
        services.append(
            {"metadata": metadata, "spec": {"clusterIP": f"10.96.{1 + i // 250}.{1 + i % 250}", "ports": ports}}
        )
        addresses = [f"10.244.{(i + j) % 3 + 1}.{(i * 7 + j) % 250 + 2}" for j in range(endpoints)]
        slices.append(
            {
                "metadata": {
                    "name": f"s{i}-x",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": f"s{i}"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address], "nodeName": "node1"} for address in addresses],
                "ports": [{"port": 8080, "protocol": "TCP"}],
            }
        )
    return services, slices


# --- nothing of an object gets into the text unseen --------------------------------------------------------------

WORD = r"[a-z0-9./-]+"
LINES = re.compile(
    "|".join(
        (
            r"table ip ktool-svc \{|    \}|\}|        \}|        elements = \{|",
            rf"    (chain|set|map) {WORD} \{{",
            r"        (typeof [a-z0-9. ]+ : verdict;|type ipv4_addr \. ipv4_addr;)",
            r"        type ipv4_addr; flags dynamic,timeout; timeout \d+s;",
            rf"            [0-9.a-z ]+ (: goto {WORD})?,?|            [0-9.]+ \. [0-9.]+,?",
            r"        meta l4proto (tcp|udp|sctp) dnat ip to (numgen random mod \d+ map \{ [0-9.: ,-]+|[0-9.:]+)",
            rf"        numgen random mod \d+ vmap \{{ ([0-9-]+ : goto {WORD},? ?)+",
            rf"        (update @{WORD} \{{ ip saddr \}}|ip saddr @{WORD} goto {WORD}|goto {WORD})",
            r'        return comment "[0-9a-f]{16}"',
        )
    )
)
FIXED = set(render([], "node1").text.splitlines()) | {
    "        ip saddr 10.244.0.0/16 goto svc-",
    "        fib saddr type local goto svc-",
}

EVIL = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ['x"; flush ruleset; #', "a } table ip t {", "10.0.0.1; drop", "10.0.0.1 }", "a\nb", "..", "-", ""]
    ),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True),
)
ADDRESS = st.one_of(EVIL, st.sampled_from(["10.96.1.1", "192.0.2.1", "10.244.1.2", "010.1.1.1", "::1", "127.0.0.1"]))
NUMBER = st.one_of(st.integers(-1, 70000), EVIL, st.none(), st.just(True))
PORT = st.fixed_dictionaries(
    {"port": NUMBER, "protocol": st.one_of(st.sampled_from(["TCP", "UDP"]), EVIL)},
    optional={"nodePort": NUMBER, "name": EVIL},
)


@given(
    names=st.tuples(EVIL, EVIL),
    spec=st.fixed_dictionaries(
        {"clusterIP": ADDRESS, "ports": st.lists(PORT, max_size=3)},
        optional={
            "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
            "externalIPs": st.lists(ADDRESS, max_size=2),
            "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
            "sessionAffinityConfig": st.fixed_dictionaries(
                {"clientIP": st.fixed_dictionaries({"timeoutSeconds": NUMBER})}
            ),
            "externalTrafficPolicy": st.sampled_from(["Cluster", "Local"]),
        },
    ),
    endpoints=st.lists(
        st.fixed_dictionaries({"addresses": st.lists(ADDRESS, max_size=1), "nodeName": EVIL}), max_size=3
    ),
    slice_ports=st.lists(PORT, max_size=2),
)
def test_no_object_says_more_than_it_may(names: Any, spec: Any, endpoints: Any, slice_ports: Any) -> None:
    name, namespace = names
    one = {"metadata": {"name": name, "namespace": namespace, "uid": "u"}, "spec": spec}
    two = {
        "metadata": {"name": "s", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": slice_ports,
    }
    text = render(frontends([one], [two]), "node1").text
    for line in text.splitlines():
        plain = re.sub(rf"svc-{WORD}$", "svc-", line)
        assert line in FIXED or plain in FIXED or LINES.fullmatch(line), line


@given(address=EVIL)
def test_an_address_that_is_none_is_refused_before_it_is_stored(address: str) -> None:
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
    }
    assert schema.check(endpointslice.SCHEMA, slice_) or endpointslice.validate(slice_, None)
    taken = {
        "metadata": {"name": "x"},
        "spec": {"clusterIP": address or "x", "ports": [{"port": 80}], "type": "ClusterIP"},
    }
    assert service.KIND.rules.validate is not None and service.KIND.rules.validate(taken, None)
