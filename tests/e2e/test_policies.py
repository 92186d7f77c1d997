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
    "use Socket; $SIG{TERM} = sub { exit }; $SIG{CHLD} = q(IGNORE);"
    " for my $port (8080 .. 8083) { next if fork; socket(L, PF_INET, SOCK_STREAM, 0);"
    " setsockopt(L, SOL_SOCKET, SO_REUSEADDR, 1); bind(L, sockaddr_in($port, INADDR_ANY)) && listen(L, 50) or die $!;"
    ' while (accept(C, L)) { next if fork; if ($port < 8083) { syswrite(C, "hello\\n") }'
    " else { my $text; syswrite(C, $text) while sysread(C, $text, 99) } exit } }"
    " sleep 1 while 1"
)
"""Says hello at three ports and hangs up; at 8083 it says again what it hears."""
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
"""Tries name=type/address:port each for a second, all at once, and prints the names of those that answered."""
HOLD = (
    "use Socket; $| = 1; my $to = inet_aton(shift); $SIG{ALRM} = sub { die };"
    " sub dial { my $port = shift; socket(my $s, PF_INET, SOCK_STREAM, 0);"
    " eval { alarm 1; connect($s, sockaddr_in($port, $to)) or die; alarm 0; 1 } ? $s : undef }"
    " my $open = dial(8083) or die; print qq(open\\n); select(undef, undef, undef, 0.1) while dial(8080);"
    " syswrite($open, q(kept)); alarm 5; sysread($open, my $text, 4); print qq($text\\n)"
)
"""Opens a connection, waits until no new one can be opened, and uses it."""
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
    service: str
    present: int = 0

    def view(self, name: str) -> set[str]:
        """What a pod reaches of the other pods' ports, of the service that leads to `server` and of the DNS server."""
        targets = {
            f"{one}.{port}": f"tcp/{self.addresses[one]}:{port}" for one in NAMES for port in PORTS if one != name
        }
        words = [f"{key}={target}" for key, target in (targets | DNS | {"service": self.service}).items()]
        where = self.other if name == "visitor" else self.home
        done = self.ktool("exec", "-n", where, name, "--", "perl", "-e", ASK, *words)
        return set(done.stdout.split())

    def sees(self, name: str, *expected: str) -> None:
        """Until the pod reaches exactly this: `server` stands for its three ports, `dns` for both protocols. A pod
        that is its own service always reaches it."""
        wanted = {part for word in expected for part in parts(word)} | ({"service"} if name == "server" else set())
        last: set[str] = set()

        def same() -> bool:
            nonlocal last
            last = self.view(name)
            return last == wanted

        try:
            until(same, 15)
        except AssertionError:
            raise AssertionError(f"{name}: missing {wanted - last}, too much {last - wanted}") from None

    def all_see(self, **expected: str) -> None:
        """The same for several pods side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self.sees(name, *expected[name].split()), expected))

    def set(self, *specs: Any) -> None:
        """These policies of the home namespace and no others."""
        policies = [made(f"policy-{number}", **spec) for number, spec in enumerate(specs)]
        if policies:
            self.ktool("apply", "-n", self.home, "-f", "-", stdin=documents(*policies))
        if gone := [f"policy-{number}" for number in range(len(policies), self.present)]:
            self.ktool("delete", "netpol", *gone, "-n", self.home)
        self.present = len(policies)


def parts(word: str) -> set[str]:
    if word == "dns":
        return set(DNS)
    return {f"{word}.{port}" for port in PORTS} if word in NAMES else {word}


def made(name: str, **spec: Any) -> Any:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": {"podSelector": {}, **spec}}


def resident(name: str, node: LabNode, space: str, **labels: str) -> Any:
    ports = [{"name": "web", "containerPort": 8081}]
    place = {"nodeSelector": {"kubernetes.io/hostname": node.name}}
    one = pod(name, container("main", "perl", "-e", SERVE, ports=ports), **place)
    return {**one, "metadata": {"name": name, "namespace": space, "labels": {"app": name, **labels}}}


def only(name: str, *types: str, **rules: Any) -> Any:
    """The spec of a policy for one pod."""
    return {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": [*types], **rules}


FRIENDS = {"podSelector": {"matchLabels": {"role": "friend"}}}
BLUE = {"namespaceSelector": {"matchLabels": {"team": "blue"}}}


def test_without_a_server_a_command_leaves_with_its_policies_in_force(serverless: Ktool, lab: Lab) -> None:
    with space(serverless) as namespace:
        place = {"nodeSelector": {"kubernetes.io/hostname": lab.nodes[1].name}}
        serverless("apply", "-n", namespace, "-f", "-", stdin=documents(pod("alone", container("main"), **place)))
        address = serverless.pods(namespace)[0]["status"]["podIP"]
        serverless("apply", "-n", namespace, "-f", "-", stdin=documents(made("deny")))
        assert f"{address} : drop" in on(lab.nodes[1], "nft list map ip ktool-pol ingress")
        listed = serverless("get", "netpol", "-n", namespace).stdout.splitlines()
        assert [line.split()[:2] for line in listed] == [["NAME", "POD-SELECTOR"], ["deny", "<none>"]]
        serverless("delete", "netpol", "deny", "-n", namespace)
        assert "ktool-pol" not in on(lab.nodes[1], "nft list tables")


@pytest.fixture(scope="module")
def yard(cluster: Ktool, lab: Lab) -> Iterator[Yard]:
    with serving(cluster), space(cluster) as home, space(cluster) as other:
        labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other, "labels": {"team": "blue"}}}
        first, second, _ = lab.nodes
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": home}}
        ports = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
        pods = [resident("server", first, home), resident("friend", first, home, role="friend")]
        pods += [resident("stranger", second, home), resident("visitor", second, other)]
        cluster("apply", "-f", "-", "--wait", stdin=documents(labelled, {**service, "spec": ports}, *pods))
        listed = [*cluster.pods(home), *cluster.pods(other)]
        addresses = {one["metadata"]["name"]: one["status"]["podIP"] for one in listed}
        address = cluster.json("get", "service", "server", "-n", home)["spec"]["clusterIP"]
        found = Yard(cluster, lab.nodes, home, other, addresses, f"tcp/{address}:80")
        found.all_see(server="friend stranger visitor dns", visitor="server service friend stranger dns")
        yield found


def test_ingress_denied_to_all_or_open_to_a_namespace_or_to_pods(yard: Yard) -> None:
    words = ["exec", "-n", yard.home, "stranger", "--", "perl", "-e", HOLD, yard.addresses["friend"]]
    held = yard.ktool.start(*words)
    assert held.stdout is not None and held.stdout.readline() == b"open\n"
    yard.set(
        only("friend", "Ingress"),
        only("server", "Ingress", ingress=[{"from": [BLUE]}]),
        only("stranger", "Ingress", ingress=[{"from": [FRIENDS]}]),
    )
    # They still ask others and are answered.
    yard.all_see(
        server="visitor dns",
        friend="stranger visitor dns",
        stranger="visitor dns",
        visitor="server service dns",
    )
    # Its own node always reaches a pod; others are subject to the policy.
    ask = f"perl -e '{ASK}' node=tcp/{yard.addresses['friend']}:8080"
    assert on(yard.nodes[0], ask) == "node"
    assert on(yard.nodes[1], ask) == ""
    assert held.communicate(timeout=20) == (b"kept\n", b""), "what is open stays open"
    told = yard.ktool("describe", "netpol", "policy-1", "-n", yard.home).stdout
    assert "NamespaceSelector: team=blue" in told and "Not affecting egress traffic" in told


def test_egress_denied_to_all_or_open_to_dns_or_to_a_block_with_an_exception(yard: Yard) -> None:
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    block = {"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"{yard.addresses['server']}/32"]}}
    yard.set(
        only("server", "Egress"),
        only("friend", "Egress", egress=[{"to": [dns], "ports": ports}]),
        only("stranger", "Ingress", "Egress", ingress=[{"from": [block]}], egress=[{"to": [block]}]),
    )
    # They are still asked and answer.
    yard.all_see(server="", friend="dns", stranger="friend visitor", visitor="server service friend stranger dns")
    yard.set(only("server", "Egress"), only("server", "Egress", egress=[{"ports": ports}]))
    yard.sees("server", "dns")


def test_ports_by_number_by_name_and_in_a_range(yard: Yard) -> None:
    by_number = {"from": [FRIENDS], "ports": [{"port": 8080}, {"protocol": "UDP"}]}
    by_name = {"from": [BLUE], "ports": [{"port": "web"}]}
    range_ = {"from": [{"podSelector": {"matchLabels": {"app": "stranger"}}}]}
    rules = [by_number, by_name, {**range_, "ports": [{"port": 8081, "endPort": 8090}]}]
    yard.set(only("server", "Ingress", ingress=rules))
    yard.all_see(
        friend="server.8080 service stranger visitor dns",
        visitor="server.8081 friend stranger dns",
        stranger="server.8081 server.8082 friend visitor dns",
    )


def test_policies_add_up_and_follow_labels(yard: Yard) -> None:
    both = {**BLUE, "podSelector": {"matchLabels": {"app": "nobody"}}}
    yard.set({}, only("server", "Ingress", ingress=[{"from": [FRIENDS]}, {"from": [both]}]))
    yard.all_see(friend="server service visitor dns", stranger="visitor dns", visitor="dns")
    relabelled = resident("stranger", yard.nodes[1], yard.home, role="friend")
    yard.ktool("apply", "-f", "-", stdin=documents(relabelled))
    yard.sees("stranger", "server", "service", "visitor", "dns")
    yard.ktool("apply", "-f", "-", stdin=documents(resident("stranger", yard.nodes[1], yard.home)))
    deny, allow = {"policyTypes": ["Ingress", "Egress"]}, {"ingress": [{}], "egress": [{}]}
    yard.set(deny, allow)
    yard.all_see(stranger="server service friend visitor dns", visitor="server service friend stranger dns")


def test_a_pod_is_isolated_from_its_first_moment_and_a_table_goes_with_its_pods(yard: Yard) -> None:
    yard.set(only("fresh", "Egress"))
    target = f"visitor=tcp/{yard.addresses['visitor']}:8080"
    tries = f"for i in 1 2; do perl -e '{ASK}' {target}; done; echo tried; exec sleep 100"
    place = {"nodeSelector": {"kubernetes.io/hostname": yard.nodes[2].name}}
    fresh = pod("fresh", container("main", "sh", "-c", tries), **place)
    fresh = {**fresh, "metadata": {"name": "fresh", "labels": {"app": "fresh"}}}
    yard.ktool("apply", "-n", yard.home, "-f", "-", stdin=documents(fresh))
    log = until(lambda: "tried" in (text := yard.ktool("logs", "-n", yard.home, "fresh", status=None).stdout) and text)
    assert log == "tried\n"
    assert "ktool-pol" in on(yard.nodes[2], "nft list tables")
    yard.ktool("delete", "pod", "fresh", "-n", yard.home, "--now")
    until(lambda: "ktool-pol" not in on(yard.nodes[2], "nft list tables"), 5)
