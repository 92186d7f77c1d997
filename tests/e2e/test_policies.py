"""The recipes of the upstream documentation with real connections, both ways: two nodes, two namespaces, four pods that
serve at three ports and ask each other. A view is what one of them reaches at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import container, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

SERVE = (
    "use Socket; $SIG{TERM} = sub { exit };"
    " for my $port (8080, 8081, 8082) { next if fork; socket(L, PF_INET, SOCK_STREAM, 0);"
    " setsockopt(L, SOL_SOCKET, SO_REUSEADDR, 1); bind(L, sockaddr_in($port, INADDR_ANY)) && listen(L, 50) or die $!;"
    ' while (accept(C, L)) { syswrite(C, "hello\\n"); close(C) } }'
    " sleep 1 while 1"
)
ASK = (
    "use Socket; for (@ARGV) { next if fork; my ($name, $type, $address, $port) = split m{[=/:]}; alarm 1;"
    " socket(S, PF_INET, $type eq q(udp) ? SOCK_DGRAM : SOCK_STREAM, 0);"
    " connect(S, sockaddr_in($port, inet_aton($address))) or exit;"
    " my $question = pack(q(n6), 7, 256, 1, 0, 0, 0) . join(q(), map { pack(q(C/a*), $_) }"
    " qw(kube-dns kube-system svc cluster local)) . pack(q(Cn2), 0, 1, 1);"
    " if ($port == 53) { $question = pack(q(n/a*), $question) if $type eq q(tcp); send(S, $question, 0) }"
    " my $answer; defined recv(S, $answer, 512, 0) && length $answer or exit; print qq($name\\n); exit }"
    " 1 while wait > 0"
)
NAMES = ("server", "friend", "stranger", "visitor")
PORTS = ("8080", "8081", "8082")
DNS = {"dns": "udp/10.96.0.10:53", "dns-tcp": "tcp/10.96.0.10:53"}


@dataclass
class Yard:
    """Pods server and friend on the first node, stranger and visitor on the second, visitor in the other namespace."""

    ktool: Ktool
    nodes: tuple[LabNode, ...]
    home: str
    other: str
    addresses: dict[str, str]

    def view(self, name: str, *extra: str) -> set[str]:
        """What a pod reaches of the other pods' ports, the DNS server, and `extra` targets."""
        targets = {
            f"{one}.{port}": f"tcp/{self.addresses[one]}:{port}" for one in NAMES for port in PORTS if one != name
        }
        words = [f"{key}={target}" for key, target in (targets | DNS).items()]
        where = self.other if name == "visitor" else self.home
        done = self.ktool("exec", "-n", where, name, "--", "perl", "-e", ASK, *words, *extra)
        return set(done.stdout.split())

    def sees(self, name: str, *expected: str, extra: tuple[str, ...] = ()) -> None:
        """Until the pod reaches exactly this: `server` stands for its three ports, `dns` for both protocols."""
        wanted = {part for word in expected for part in parts(word)}
        last: set[str] = set()

        def same() -> bool:
            nonlocal last
            last = self.view(name, *extra)
            return last == wanted

        try:
            until(same, 15)
        except AssertionError:
            raise AssertionError(f"{name}: missing {wanted - last}, too much {last - wanted}") from None

    def all_see(self, **expected: str) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self.sees(name, *expected[name].split()), expected))

    def set(self, **specs: Any) -> None:
        """These policies of the home namespace and no others."""
        found = {one["metadata"]["name"] for one in self.ktool.json("get", "netpol", "-n", self.home)["items"]}
        policies = [made(name.replace("_", "-"), **spec) for name, spec in specs.items()]
        if policies:
            self.ktool("apply", "-n", self.home, "-f", "-", stdin=documents(*policies))
        if gone := found - {one["metadata"]["name"] for one in policies}:
            self.ktool("delete", "netpol", *gone, "-n", self.home)


def parts(word: str) -> set[str]:
    if word == "dns":
        return set(DNS)
    return {f"{word}.{port}" for port in PORTS} if word in NAMES else {word}


def made(name: str, **spec: Any) -> Any:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": {"podSelector": {}, **spec}}


def resident(name: str, node: LabNode, **labels: str) -> Any:
    ports = [{"name": "web", "containerPort": 8081}]
    place = {"nodeSelector": {"kubernetes.io/hostname": node.name}}
    one = pod(name, container("main", "perl", "-e", SERVE, ports=ports), **place)
    return {**one, "metadata": {"name": name, "labels": {"app": name, **labels}}}


@pytest.fixture(scope="module")
def yard(cluster: Ktool, lab: Lab) -> Iterator[Yard]:
    with serving(cluster), space(cluster) as home, space(cluster) as other:
        labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other, "labels": {"team": "blue"}}}
        cluster("apply", "-f", "-", stdin=documents(labelled))
        first, second, _ = lab.nodes
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}}
        spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
        own = [resident("server", first), resident("friend", first, role="friend"), resident("stranger", second)]
        cluster("apply", "-n", home, "-f", "-", stdin=documents(*own, {**service, "spec": spec}))
        cluster("apply", "-n", other, "-f", "-", "--wait", stdin=documents(resident("visitor", second)))
        cluster("apply", "-n", home, "-f", "-", "--wait", stdin=documents(*own))
        pods = {one["metadata"]["name"]: one["status"]["podIP"] for one in [*cluster.pods(home), *cluster.pods(other)]}
        found = Yard(cluster, lab.nodes, home, other, pods)
        found.all_see(server="friend stranger visitor dns", visitor="server friend stranger dns")
        yield found
        found.set()


def service(yard: Yard) -> str:
    address = yard.ktool.json("get", "service", "server", "-n", yard.home)["spec"]["clusterIP"]
    return f"service=tcp/{address}:80"


def test_deny_all_ingress(yard: Yard) -> None:
    yard.set(deny={})
    yard.all_see(
        server="visitor dns",  # the answers of those it asks pass
        friend="visitor dns",
        stranger="visitor dns",
        visitor="dns",
    )
    # Its own node always reaches a pod; other machines are subject to the policy.
    ask = f"perl -e '{ASK}' node=tcp/{yard.addresses['server']}:8080"
    assert on(yard.nodes[0], ask) == "node"
    assert on(yard.nodes[1], ask) == ""


def test_deny_all_egress_and_then_only_to_dns(yard: Yard) -> None:
    yard.set(silent={"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Egress"]})
    yard.all_see(server="", friend="server stranger visitor dns", visitor="server friend stranger dns")
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    selector = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Egress"]}
    yard.set(silent=selector, dns={**selector, "egress": [{"to": [dns], "ports": ports}]})
    yard.all_see(server="dns", friend="server stranger visitor dns")


def test_from_a_namespace_and_from_pods(yard: Yard) -> None:
    blue = {"namespaceSelector": {"matchLabels": {"team": "blue"}}}
    friends = {"podSelector": {"matchLabels": {"role": "friend"}}}
    server = {"podSelector": {"matchLabels": {"app": "server"}}}
    yard.set(blue={**server, "ingress": [{"from": [blue]}]})
    yard.all_see(friend="stranger visitor dns", visitor="server friend stranger dns")
    yard.set(friends={**server, "ingress": [{"from": [friends]}]})
    yard.all_see(friend="server stranger visitor dns", stranger="friend visitor dns", visitor="friend stranger dns")
    both = {"ingress": [{"from": [{**blue, "podSelector": {"matchLabels": {"app": "nobody"}}}]}]}
    yard.set(friends={**server, "ingress": [{"from": [friends]}]}, both={**server, **both})
    yard.sees("visitor", "friend", "stranger", "dns")
    # A label is enough to be let in, and what is new is known everywhere.
    relabelled = resident("stranger", yard.nodes[1], role="friend")
    yard.ktool("apply", "-n", yard.home, "-f", "-", stdin=documents(relabelled))
    yard.sees("stranger", "server", "friend", "visitor", "dns")
    yard.ktool("apply", "-n", yard.home, "-f", "-", stdin=documents(resident("stranger", yard.nodes[1])))
    yard.sees("stranger", "friend", "visitor", "dns")


@pytest.mark.parametrize(
    ("ports", "open_"),
    [
        ([{"port": 8080}], "server.8080 service"),
        ([{"port": "web"}], "server.8081"),
        ([{"port": 8081, "endPort": 8082}], "server.8081 server.8082"),
        ([{"protocol": "UDP"}], ""),
    ],
    ids=["number", "name", "range", "another-protocol"],
)
def test_ports(yard: Yard, ports: Any, open_: str) -> None:
    server = {"podSelector": {"matchLabels": {"app": "server"}}}
    yard.set(ports={**server, "ingress": [{"ports": ports}]})
    extra = (service(yard),)
    with ThreadPoolExecutor() as pool:
        near = pool.submit(yard.sees, "friend", *open_.split(), "stranger", "visitor", "dns", extra=extra)
        yard.sees("visitor", *open_.split(), "friend", "stranger", "dns", extra=extra)
        near.result()


def test_an_address_block_with_an_exception_both_ways(yard: Yard) -> None:
    block = {"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"{yard.addresses['stranger']}/32"]}}
    server = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress", "Egress"]}
    yard.set(block={**server, "ingress": [{"from": [block]}], "egress": [{"to": [block]}]})
    yard.all_see(
        server="friend visitor",
        friend="server stranger visitor dns",
        stranger="friend visitor dns",
        visitor="server friend stranger dns",
    )


def test_a_pod_is_isolated_from_its_first_moment_and_tables_go_with_the_policies(yard: Yard) -> None:
    yard.set(silent={"podSelector": {"matchLabels": {"app": "fresh"}}, "policyTypes": ["Egress"]})
    target = f"visitor=tcp/{yard.addresses['visitor']}:8080"
    tries = f"i=0; while [ $i -lt 3 ]; do perl -e '{ASK}' {target}; i=$((i+1)); done; echo tried; sleep 100"
    place = {"nodeSelector": {"kubernetes.io/hostname": yard.nodes[2].name}}
    fresh = pod("fresh", container("main", "sh", "-c", tries), **place)
    fresh = {**fresh, "metadata": {"name": "fresh", "labels": {"app": "fresh"}}}
    yard.ktool("apply", "-n", yard.home, "-f", "-", stdin=documents(fresh))
    log = until(lambda: "tried" in (text := yard.ktool("logs", "-n", yard.home, "fresh", status=None).stdout) and text)
    assert log == "tried\n"
    assert "ktool-pol" in on(yard.nodes[2], "nft list tables")
    yard.ktool("delete", "pod", "fresh", "-n", yard.home, "--now")
    until(lambda: "ktool-pol" not in on(yard.nodes[2], "nft list tables"), 5)
