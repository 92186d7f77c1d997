"""What a node printed -> facts. The outputs are recorded ones of Podman 4.3.1 and iproute2 6.1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ktool.logic.network.links import Links
from ktool.logic.node.nodeaction import ContainerFact, PodFact
from ktool.node import bootstrap
from ktool.node.network import podnetwork as network
from ktool.node.podman import facts

INFO = """hostname=node1
machine_id=ed5831fe88c626301f56c8a3c7e824fd
boot_id=c892a4d9-55fb-43e7-bf1a-638d4b47f6a7
cpu=2
memory=24683976
kernel=6.1.0-18-amd64
os=Debian GNU/Linux 12 (bookworm)
architecture=x86_64
podman=podman version 4.3.1
clock=1795413878.946745900
address=10.89.1.11
address=10.89.1.11
address=10.0.0.4
mtu=1500
"""


def test_info() -> None:
    info = facts.info(INFO)
    assert (info.cpu, info.memory, info.architecture) == (2, 24683976 * 1024, "amd64")
    assert info.runtime_version == "podman://4.3.1"
    assert info.addresses == ("10.89.1.11", "10.0.0.4")
    assert info.mtu == 1500
    assert info.clock == pytest.approx(1795413878.9467459)


def test_info_without_podman() -> None:
    assert facts.info(INFO.replace("podman version 4.3.1", "")).runtime_version == ""


def test_info_that_is_cut_off_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="did not say its"):
        facts.info("hostname=a\nmachine_id=b\n")


SETTLED = """c892a4d9-55fb-43e7-bf1a-638d4b47f6a7
forward 1
snat 10.244.1.0/24
clamp
pod 11111111-2222-3333-4444-555555555551
volume cfg 0a1b
volume tmp
pod 11111111-2222-3333-4444-555555555551
volume mem 2c
pod 11111111-2222-3333-4444-555555555552
"""


def test_settled() -> None:
    settled = facts.Settled(SETTLED)
    assert settled.boot_id.startswith("c892")
    assert settled.links == Links() and settled.key == ""
    assert settled.volumes == {
        "11111111-2222-3333-4444-555555555551": {"cfg": "0a1b", "tmp": "", "mem": "2c"},
        "11111111-2222-3333-4444-555555555552": {},
    }


NETWORK = {"subnets": [{"subnet": "10.244.1.0/24", "gateway": "10.244.1.1"}]}


@pytest.mark.parametrize(
    ("found", "text", "trouble"),
    [
        pytest.param(NETWORK, SETTLED, "", id="in-place"),
        pytest.param(None, SETTLED, "missing", id="no-network"),
        pytest.param(NETWORK, SETTLED.replace("forward 1", "forward 0"), "forwarding", id="forwarding-off"),
        pytest.param(NETWORK, SETTLED.replace("snat 10.244.1.0/24\n", ""), "rule", id="rules-flushed"),
        pytest.param(NETWORK, SETTLED.replace("clamp\n", ""), "tunnels", id="one-rule-lost"),
        pytest.param(NETWORK, SETTLED.replace("snat 10.244.1", "snat 10.244.9"), "rule", id="rule-of-another-subnet"),
    ],
)
def test_a_network_counts_only_with_its_rules(found: dict[str, Any] | None, text: str, trouble: str) -> None:
    network = facts.pod_network(found, facts.Settled(text))
    assert network.subnet == ("" if trouble else "10.244.1.0/24")
    assert trouble in network.trouble and bool(trouble) == bool(network.trouble)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1795413231, 1795413231.0),
        (-62135596800, 0.0),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        (None, 0.0),
        ("2026-11-23T05:53:51.668617194Z", 1795413231.668617),
        ("2026-11-23T07:53:51.5+02:00", 1795413231.5),
        ("2026-11-23T05:53:51Z", 1795413231.0),
    ],
)
def test_seconds(value: Any, expected: float) -> None:
    assert facts.seconds(value) == pytest.approx(expected, abs=1e-6)


LABELS = {
    "ktool.dev/cluster": "c",
    "ktool.dev/uid": "u1",
    "ktool.dev/namespace": "default",
    "ktool.dev/pod": "web",
    "ktool.dev/hash": "h",
    "ktool.dev/ip": "10.244.1.5",
}
PODS = json.loads("""[{"Containers": [{"Id": "i1", "Names": "infra", "Status": "running"},
    {"Id": "c2", "Names": "c2", "Status": "stopped"}, {"Id": "c1", "Names": "c1", "Status": "running"}],
    "Created": "2026-11-23T05:53:51.668617194Z", "Id": "p1", "InfraId": "i1", "Name": "web_default_u1",
    "Networks": ["ktool"], "Status": "Degraded"}]""")
PODS[0]["Labels"] = LABELS


def _entry(**changes: Any) -> dict[str, Any]:
    entry = {
        "Id": "c1",
        "Created": "2026-11-23T05:53:51.69Z",
        "Exited": False,
        "ExitedAt": -62135596800,
        "ExitCode": 0,
        "Image": "registry.lab/web:v1",
        "ImageID": "dc1b",
        "IsInfra": False,
        "Labels": {**LABELS, "ktool.dev/container": "web"},
        "Pid": 271,
        "Pod": "p1",
        "StartedAt": 1795413231,
        "State": "running",
    }
    return {**entry, **changes}


CRASHED = _entry(Id="c2", Exited=True, ExitedAt=1795413233, ExitCode=3, Pid=0, StartedAt=1795413233, State="stopped")
CRASHED["Labels"] = {**LABELS, "ktool.dev/container": "app"}
DETAILS = {
    "RestartCount": 15,
    "State": {
        "Status": "stopped",
        "OOMKilled": True,
        "ExitCode": 137,
        "Error": "",
        "StartedAt": "2026-11-23T05:53:53.013382309Z",
        "FinishedAt": "2026-11-23T05:53:53.512745321Z",
    },
}


def test_pods_from_lists_and_inspects() -> None:
    infra = _entry(Id="i1", IsInfra=True, Labels=LABELS, Created="2026-11-23T05:53:51.668617194Z")
    containers = [infra, _entry(), CRASHED]
    assert facts.sandboxes_of_infra(containers) == facts.sandboxes(PODS)
    found = facts.pods(facts.sandboxes(PODS), containers, {"c2": DETAILS})
    assert found == (
        PodFact(
            uid="u1",
            namespace="default",
            name="web",
            id="p1",
            hash="h",
            ip="10.244.1.5",
            infra="running",
            created_at=pytest.approx(1795413231.668617),
            containers=(
                ContainerFact(
                    name="app",
                    id="c2",
                    state="exited",
                    image="registry.lab/web:v1",
                    image_id="dc1b",
                    exit_code=137,
                    started_at=pytest.approx(1795413233.013382),
                    finished_at=pytest.approx(1795413233.512745),
                    restarts=15,
                    oom_killed=True,
                ),
                ContainerFact(
                    name="web",
                    id="c1",
                    state="running",
                    image="registry.lab/web:v1",
                    image_id="dc1b",
                    started_at=1795413231.0,
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("entry", "before", "ours", "expected"),
    [
        pytest.param(_entry(State="created", Pid=0), None, False, False, id="not-started"),
        pytest.param(_entry(), None, True, False, id="first-start-of-ours"),
        pytest.param(_entry(), ("created", 0, 0, 0), True, False, id="started-since"),
        pytest.param(_entry(), None, False, True, id="ran-before-we-came"),
        pytest.param(_entry(), ("running", 1, 1, 1), True, True, id="restarted-by-podman"),
        pytest.param(_entry(), ("exited", 0, 1, 1), True, True, id="started-again"),
        pytest.param(CRASHED, None, True, True, id="ended"),
    ],
)
def test_which_containers_are_asked_again(entry: Any, before: Any, ours: bool, expected: bool) -> None:
    assert facts.needs_inspect(entry, before, ours) is expected


def test_the_rules_are_one_transaction_that_leaves_other_chains_alone() -> None:
    text = network.rules("10.244.1.0/24")
    assert "flush chain ip ktool postrouting" in text
    assert "delete table" not in text and "flush table" not in text


GOOD = {
    "uid": "0",
    "distribution": "debian",
    "podman": "podman version 4.3.1",
    "backend": "netavark",
    "runtime": "crun",
    "forward": "1",
}


@pytest.mark.parametrize(
    ("changes", "missing", "expected"),
    [
        pytest.param({}, [], [], id="ready"),
        pytest.param({"uid": "1000"}, [], ["neither root"], id="not-root"),
        pytest.param({"podman": ""}, [], ["apt-get install -y podman netavark"], id="no-podman"),
        pytest.param({"podman": "podman version 3.4.4"}, [], ["Podman 3.4 is too old"], id="old-podman"),
        pytest.param({"podman": "podman version 5.0.0-dev"}, [], [], id="newer-podman"),
        pytest.param({"backend": "cni"}, [], ["network backend is cni"], id="cni"),
        pytest.param({"podmanerror": "no cgroup"}, [], ["does not work on it: no cgroup"], id="broken-podman"),
        pytest.param({"distribution": "fedora"}, ["nft"], ["dnf install -y nftables"], id="no-nft"),
        pytest.param({"forward": "0"}, [], ["net.ipv4.ip_forward"], id="no-forwarding"),
        pytest.param({"hybrid": "1"}, [], ["hybrid mode"], id="hybrid-cgroups"),
        pytest.param({"hybrid": "1", "runtime": "runc"}, [], [], id="hybrid-is-fine-with-runc"),
        pytest.param(
            {"uid": "1", "podman": "", "forward": "0"}, ["ip"], ["root", "Podman", "iproute2", "forward"], id="all"
        ),
    ],
)
def test_all_unmet_needs_are_said_at_once(changes: dict[str, str], missing: list[str], expected: list[str]) -> None:
    needs = bootstrap.unmet({**GOOD, **changes}, missing)
    assert len(needs) == len(expected)
    for need, text in zip(needs, expected, strict=True):
        assert text in need


@pytest.mark.parametrize(
    ("clock", "expected"),
    [(1000.0, ""), (1001.9, ""), (997.5, "2.5 s behind"), (1004.0, "3.0 s ahead of")],
)
def test_clock_warning(clock: float, expected: str) -> None:
    import dataclasses

    info = dataclasses.replace(facts.info(INFO), clock=clock)
    warning = bootstrap.clock_warning(info, 1000.0, 1001.0)
    assert expected in warning and bool(warning) == bool(expected)
