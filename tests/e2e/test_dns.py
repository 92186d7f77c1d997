"""Names with real resolvers: what a pod on each node is told about services, pods and everything else, and how soon."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import container, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

DNS, ZONE = "10.96.0.10", "svc.cluster.local"
RESOLVE = "perl -MSocket -e 'print inet_ntoa(inet_aton($ARGV[0]) // exit 1)'"
"""What libc's own resolver makes of a name: it goes by the search list of resolv.conf."""
SOON = 1.0


def service(name: str, app: str, **spec: Any) -> dict[str, Any]:
    body = {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def member(name: str, app: str, node: str, **spec: Any) -> dict[str, Any]:
    made = pod(name, container("main"), nodeSelector={"kubernetes.io/hostname": node}, **spec)
    return {**made, "metadata": {**made["metadata"], "labels": {"app": app}}}


@dataclass
class Town:
    """A namespace with a client pod on each node, services and their pods, while `ktool serve` runs."""

    ktool: Ktool
    nodes: tuple[LabNode, ...]
    namespace: str

    def apply(self, *objects: Any, wait: bool = True) -> None:
        words = ("apply", "-n", self.namespace, "-f", "-", *(["--wait"] if wait else []))
        self.ktool(*words, stdin=documents(*objects))

    def get(self, *words: str) -> Any:
        return self.ktool.json("get", *words, "-n", self.namespace)

    def address(self, pod_name: str) -> str:
        return str(self.get("pod", pod_name)["status"]["podIP"])

    def cluster_ip(self, name: str) -> str:
        return str(self.get("service", name)["spec"]["clusterIP"])

    def inside(self, pod_name: str, command: str, status: int | None = 0) -> str:
        return self.ktool("exec", "-n", self.namespace, pod_name, "--", "sh", "-c", command, status=status).stdout

    def dig(self, node: LabNode, *words: str) -> list[str]:
        """What dig is told in the network of the client pod on that node."""
        return sorted(
            on(node, f"{self._within(node)} dig +time=2 +tries=1 +short @{DNS} {' '.join(words)}").splitlines()
        )

    def status(self, node: LabNode, name: str) -> str:
        told = on(node, f"{self._within(node)} dig +time=2 +tries=1 +noall +comments @{DNS} {name}")
        return told.partition("status: ")[2].partition(",")[0]

    def name(self, text: str) -> str:
        return f"{text}.{self.namespace}.{ZONE}"

    def _within(self, node: LabNode) -> str:
        shown = f"podman ps -q --filter label=ktool.dev/namespace={self.namespace} --filter label=ktool.dev/pod="
        client = f"{shown}client{self.nodes.index(node) + 1} --filter label=ktool.dev/container=main"
        return f"nsenter --net -t $(podman inspect -f '{{{{.State.Pid}}}}' $({client}))"


@pytest.fixture(scope="module")
def town(cluster: Ktool, lab: Lab) -> Iterator[Town]:
    with serving(cluster), space(cluster) as namespace:
        found = Town(cluster, lab.nodes, namespace)
        names = [node.name for node in lab.nodes]
        found.apply(
            *(member(f"client{n + 1}", "client", name) for n, name in enumerate(names)),
            member("one", "cast", names[0], hostname="first", subdomain="cast"),
            member("two", "cast", names[1]),
            service("web", "cast"),
            service("cast", "cast", clusterIP="None"),
            {**service("alias", ""), "spec": {"type": "ExternalName", "externalName": f"web.{namespace}.{ZONE}"}},
            {**service("away", ""), "spec": {"type": "ExternalName", "externalName": "db.example.com"}},
        )
        for node in lab.nodes:
            until(lambda node=node: len(found.dig(node, found.name("cast"))) == 2, 10)
        yield found


def test_without_a_server_names_are_there_when_a_command_ends_and_stay(serverless: Ktool, lab: Lab) -> None:
    with space(serverless) as namespace:
        objects = documents(service("web", "only"), member("only", "only", lab.nodes[1].name))
        serverless("apply", "-n", namespace, "-f", "-", stdin=objects)
        address = serverless.json("get", "service", "web", "-n", namespace)["spec"]["clusterIP"]
        found = serverless("exec", "-n", namespace, "only", "--", "sh", "-c", f"{RESOLVE} web").stdout
        assert found == address


def test_every_kind_of_record_from_a_pod_on_each_node(town: Town) -> None:
    web, one, two = town.cluster_ip("web"), town.address("one"), town.address("two")
    dashed = two.replace(".", "-")
    expected = {
        town.name("web"): [web],
        f"-t AAAA {town.name('web')}": [],
        town.name("cast"): sorted([one, two]),
        town.name("first.cast"): [one],
        town.name(f"{dashed}.cast"): [two],
        f"-t SRV _http._tcp.{town.name('web')}": [f"0 100 80 {town.name('web')}."],
        f"-t SRV _http._tcp.{town.name('cast')}": sorted(
            [f"0 100 8080 {town.name('first.cast')}.", f"0 100 8080 {town.name(dashed + '.cast')}."]
        ),
        f"-x {web}": [f"{town.name('web')}."],
        f"-x {one}": [f"{town.name('first.cast')}."],
        f"-x {DNS}": ["kube-dns.kube-system.svc.cluster.local."],
        town.name("alias"): sorted([f"{town.name('web')}.", web]),
        f"-t CNAME {town.name('away')}": ["db.example.com."],
        f"+tcp {town.name('web')}": [web],
    }
    for node in town.nodes:
        assert {question: town.dig(node, question) for question in expected} == expected, node.name


def test_names_are_found_by_the_search_list_and_not_with_default(town: Town) -> None:
    web = town.cluster_ip("web")
    for n in (1, 2, 3):
        for name in (
            "web",
            f"web.{town.namespace}",
            f"web.{town.namespace}.svc",
            town.name("web"),
            f"{town.name('web')}.",
        ):
            assert town.inside(f"client{n}", f"{RESOLVE} {name}") == web, name
        assert web in town.inside(f"client{n}", f"nslookup {town.name('web')}")
        assert "kube-dns.kube-system.svc.cluster.local" in town.inside(f"client{n}", f"nslookup {DNS}")
    assert town.inside("client1", "cat /etc/resolv.conf").splitlines() == [
        f"search {town.namespace}.svc.cluster.local svc.cluster.local cluster.local",
        f"nameserver {DNS}",
        "options ndots:5",
    ]


@pytest.mark.parametrize(
    ("policy", "lines"),
    [
        pytest.param({"dnsPolicy": "Default"}, None, id="default"),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": [DNS, "192.0.2.53"],
                    "searches": ["example.com"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            {"search example.com", f"nameserver {DNS}", "nameserver 192.0.2.53", "options ndots:2 edns0"},
            id="none",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": [DNS]}}, {f"nameserver {DNS}"}, id="none-no-search"
        ),
        pytest.param(
            {"dnsConfig": {"searches": ["example.com"], "options": [{"name": "ndots", "value": "1"}]}},
            {
                "search {} svc.cluster.local cluster.local example.com",
                f"nameserver {DNS}",
                "options ndots:1",
            },
            id="config-added",
        ),
        pytest.param(
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            {"search {} svc.cluster.local cluster.local", f"nameserver {DNS}", "options ndots:5"},
            id="host-network",
        ),
        pytest.param({"hostNetwork": True}, None, id="host-network-default"),
    ],
)
def test_dns_policies_and_config(town: Town, policy: dict[str, Any], lines: set[str] | None) -> None:
    node = town.nodes[2]
    name = f"p{abs(hash(json.dumps(policy))) % 10**6}"
    town.apply(member(name, "policy", node.name, **policy))
    found = set(town.inside(name, "cat /etc/resolv.conf").splitlines())
    town.ktool("delete", "pod", name, "-n", town.namespace, "--now")
    if lines is None:
        assert not any(DNS in line or "cluster.local" in line for line in found), found
    else:
        assert found == {line.format(f"{town.namespace}.svc.cluster.local") for line in lines}


def test_what_there_is_not_is_said_at_once(town: Town) -> None:
    for node in town.nodes:
        assert town.status(node, town.name("nobody")) == "NXDOMAIN"
        assert town.status(node, "-x 10.244.255.254") == "NXDOMAIN"
        assert town.status(node, f"-t AAAA {town.name('web')}") == "NOERROR"
    began = time.monotonic()
    town.inside("client1", f"{RESOLVE} nobody.{town.namespace}.svc.cluster.local.", status=1)
    assert time.monotonic() - began < 3, "the program's own start is most of it"


def test_other_names_go_to_the_servers_of_the_node(town: Town) -> None:
    node = town.nodes[1]
    options = "--listen-address=127.0.0.8 --bind-interfaces --no-resolv --no-hosts --conf-file=/dev/null"
    hosts = "--local=/example.com/ --host-record=www.example.com,192.0.2.7 --host-record=db.example.com,192.0.2.8"
    on(node, f"dnsmasq {options} --pid-file=/run/up.pid {hosts}")
    before = on(node, "cat /etc/resolv.conf")
    on(node, "echo nameserver 127.0.0.8 >/etc/resolv.conf")
    try:
        assert until(lambda: town.dig(node, "www.example.com"), 10) == ["192.0.2.7"]
        assert town.inside("client2", f"{RESOLVE} www.example.com") == "192.0.2.7"
        assert town.dig(node, town.name("away")) == ["192.0.2.8", "db.example.com."], "an ExternalName and its target"
        assert town.inside("client2", f"{RESOLVE} away") == "192.0.2.8"
    finally:
        on(node, f"echo '{before}' >/etc/resolv.conf; kill $(cat /run/up.pid)")


# --- how soon ----------------------------------------------------------------------------------------------------


def seen_on(town: Town, node: LabNode, name: str, there: bool, seconds: int) -> float:
    """When (epoch seconds) a resolver on the node first finds that the name is there, or that it is not."""
    test = "[ -n" if there else "[ -z"
    ask = f"dig +time=2 +tries=1 +short @{DNS} {name}"
    give_up = f"[ $(date +%s) -lt $(($begin + {seconds})) ] || exit 1"
    loop = f'begin=$(date +%s); until {test} "$({ask})" ]; do {give_up}; sleep 0.05; done'
    return float(on(node, f"{loop}; date +%s.%N", timeout=seconds + 20))


def when(lines: Iterator[str], true: Callable[[str], bool]) -> float:
    """When the first line came of which something is true."""
    for line in lines:
        if true(line):
            return time.time()
    raise AssertionError("the watch has ended")


def test_a_name_comes_and_goes_with_its_pod_within_a_second(town: Town) -> None:
    town.apply(service("fleeting", "fleeting", clusterIP="None"), wait=False)
    name = town.name("fleeting")
    watching = subprocess.Popen(
        [*_program(), "get", "pods", "-n", town.namespace, "-l", "app=fleeting", "--watch"],
        env=town.ktool.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        with ThreadPoolExecutor(8) as pool:
            polls = [pool.submit(seen_on, town, node, name, True, 60) for node in town.nodes]
            ready = pool.submit(when, watching.stdout, lambda line: "1/1" in line)
            town.apply(member("brief", "fleeting", town.nodes[0].name, terminationGracePeriodSeconds=5))
            came = [poll.result() - ready.result(30) for poll in polls]
            polls = [pool.submit(seen_on, town, node, name, False, 60) for node in town.nodes]
            ending = pool.submit(when, watching.stdout, lambda line: "Terminating" in line)
            town.ktool("delete", "pod", "brief", "-n", town.namespace)
            went = [poll.result() - ending.result(30) for poll in polls]
    finally:
        watching.terminate()
        watching.communicate(timeout=20)
    assert max(came) < SOON and max(went) < SOON, f"came {came}, went {went}"
    assert town.status(town.nodes[2], name) in ("NXDOMAIN", "NOERROR")


def _program() -> list[str]:
    import sys

    return [sys.executable, "-m", "ktool"]


def test_a_killed_server_comes_back(town: Town) -> None:
    node = town.nodes[0]
    on(node, "kill -KILL $(cat /run/ktool/dns/pid)")
    web = town.cluster_ip("web")
    until(lambda: on(node, f"dig +time=1 +tries=1 +short @{DNS} {town.name('web')} || :", check=False) == web, 70, 1.0)
