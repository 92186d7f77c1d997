"""Services with real packets: three nodes, a server pod and a client pod on each, and the nodes themselves."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.support import WEB, container, documents, on, pod, serving, space

pytestmark = pytest.mark.podman

SERVERS, CLIENTS = ("server1", "server2", "server3"), ("client1", "client2", "client3")


def labelled(obj: Any, **labels: str) -> Any:
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


def on_node(node: str) -> dict[str, Any]:
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def service(name: str, port: int = 80, **spec: Any) -> dict[str, Any]:
    body = {"selector": {"app": "web"}, "ports": [{"port": port, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def server_pod(name: str, node: str, **labels: str) -> Any:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    made = pod(name, {"name": "web", "image": WEB, "readinessProbe": probe}, **on_node(node))
    return labelled(made, **(labels or {"app": "web"}))


@dataclass
class Town:
    """A namespace with a server and a client on each node, while `ktool serve` runs."""

    ktool: Ktool
    nodes: tuple[LabNode, ...]
    namespace: str

    def apply(self, *objects: Any) -> None:
        self.ktool("apply", "-n", self.namespace, "-f", "-", "--wait", stdin=documents(*objects))

    def get(self, *words: str) -> Any:
        return self.ktool.json("get", *words, "-n", self.namespace)

    def made(self, *objects: Any) -> Any:
        """Apply a service and return it once all nodes have rules for it."""
        self.apply(*objects)
        found = until(
            lambda: (one := self.get("service", objects[0]["metadata"]["name"]))["spec"].get("clusterIP") and one
        )
        for node in self.nodes:
            until(lambda node=node: found["spec"]["clusterIP"] in rules(node), 10)
        return found

    def inside(self, pod_name: str, command: str, status: int | None = 0) -> str:
        return self.ktool("exec", "-n", self.namespace, pod_name, "--", "sh", "-c", command, status=status).stdout

    def address(self, pod_name: str) -> str:
        return str(self.get("pod", pod_name)["status"]["podIP"])

    def endpoints(self, name: str) -> list[Any]:
        slices = self.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
        return [endpoint for one in slices for endpoint in one.get("endpoints") or ()]


def rules(node: LabNode) -> str:
    return on(node, "nft list table ip ktool-svc", check=False)


def asks(times: int, url: str) -> str:
    """A shell line that says each answer, or what went wrong instead."""
    return f"i=0; while [ $i -lt {times} ]; do wget -qO- {url} 2>&1 || echo failed; i=$((i+1)); done"


def by_pod(text: str) -> Counter[str]:
    """How many of the answers `v1 NAME` each pod gave; everything else counts as itself."""
    return Counter(line.removeprefix("v1 ") for line in text.splitlines())


@pytest.fixture(scope="module")
def town(cluster: Ktool, lab: Lab) -> Iterator[Town]:
    with serving(cluster), space(cluster) as namespace:
        found = Town(cluster, lab.nodes, namespace)
        names = [node.name for node in lab.nodes]
        servers = [server_pod(name, node) for name, node in zip(SERVERS, names, strict=True)]
        clients = [pod(name, container("main"), **on_node(node)) for name, node in zip(CLIENTS, names, strict=True)]
        found.apply(*servers, *clients)
        yield found


def test_without_a_server_a_command_leaves_with_its_rules_in_place(serverless: Ktool, lab: Lab) -> None:
    with space(serverless) as namespace:
        objects = documents(service("web"), server_pod("only", lab.nodes[1].name))
        serverless("apply", "-n", namespace, "-f", "-", stdin=objects)
        address = serverless.json("get", "service", "web", "-n", namespace)["spec"]["clusterIP"]
        # Nothing acts any more: what is answered now was in place when the command left. Only the web server itself may
        # still be starting, for a pod without a probe is ready when its container runs.
        for node in lab.nodes:
            until(lambda node=node: on(node, f"busybox wget -qO- http://{address}/", check=False) == "v1 only", 10)
        listed = serverless("get", "svc", "-n", namespace).stdout.splitlines()
        assert listed[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
        assert listed[1].split()[:5] == ["web", "ClusterIP", address, "<none>", "80/TCP"]
        told = serverless("describe", "service", "web", "-n", namespace).stdout
        assert f"{address}\n" in told and ":8080" in told and "80/TCP" in told
        assert json.loads(serverless("get", "all", "-n", namespace, "-o", "json").stdout)["items"]


def test_every_request_is_answered_each_pod_is_hit_and_the_client_is_known(town: Town) -> None:
    address = town.made(service("web"))["spec"]["clusterIP"]

    def from_pod(name: str) -> None:
        answers = by_pod(town.inside(name, asks(100, f"http://{address}/")))
        assert set(answers) == set(SERVERS) and answers.total() == 100, (name, answers)
        seen = town.inside(name, asks(12, f"http://{address}/client"))
        assert set(seen.split()) == {town.address(name)}, "servers see the pod that asks"

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(from_pod, CLIENTS))
    for node in town.nodes:
        answers = by_pod(on(node, asks(100, f"http://{address}/").replace("wget", "busybox wget")))
        assert set(answers) == set(SERVERS) and answers.total() == 100, (node.name, answers)


def test_a_node_port_is_open_on_every_node_for_the_outside(town: Town) -> None:
    made = town.made(service("outer", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    for node in town.nodes:
        until(lambda node=node: str(port) in rules(node))
        answers = Counter(_get(node.address, port) for _ in range(30))
        assert set(answers) == {f"v1 {name}" for name in SERVERS}, (node.name, answers)
    inside = by_pod(town.inside("client1", asks(12, f"http://{town.nodes[1].address}:{port}/")))
    assert set(inside) <= set(SERVERS) and inside.total() == 12


def test_with_the_policy_local_the_outside_reaches_the_pods_of_the_node_it_asks_and_is_known(town: Town) -> None:
    made = town.made(service("near", type="NodePort", externalTrafficPolicy="Local", internalTrafficPolicy="Local"))
    port, address = made["spec"]["ports"][0]["nodePort"], made["spec"]["clusterIP"]
    host = _own_address(town.nodes[0].address)
    for node, own, client in zip(town.nodes, SERVERS, CLIENTS, strict=True):
        until(lambda node=node: str(port) in rules(node))
        assert {_get(node.address, port) for _ in range(8)} == {f"v1 {own}"}
        assert _get(node.address, port, "/client") == host, "the client keeps its address"
        assert set(by_pod(town.inside(client, asks(8, f"http://{address}/")))) == {own}


def test_a_load_balancer_answers_at_the_addresses_of_the_nodes_and_leaves_ssh_alone(town: Town) -> None:
    ports = [{"name": "web", "port": 8088, "targetPort": 8080}, {"name": "ssh", "port": 22, "targetPort": 8080}]
    town.made(service("balancer", type="LoadBalancer", ports=ports))

    def ingress() -> set[str]:
        found = town.get("service", "balancer").get("status", {}).get("loadBalancer", {}).get("ingress", ())
        return {entry["ip"] for entry in found}

    assert until(ingress) == {node.address for node in town.nodes}
    for node in town.nodes:
        assert until(lambda node=node: _get(node.address, 8088)).startswith("v1 server")
        assert on(node, "echo still here") == "still here"


def test_a_service_without_endpoints_refuses_at_once(town: Town) -> None:
    made = town.made(service("nobody", selector={"app": "nobody"}, type="NodePort"))
    address = made["spec"]["clusterIP"]
    began = time.monotonic()
    said = town.inside("client2", asks(3, f"http://{address}/"))
    assert said.count("refused") == 3, said
    on_the_node = on(town.nodes[0], asks(3, f"http://{address}/").replace("wget", "busybox wget"))
    assert on_the_node.count("refused") == 3, on_the_node
    unknown = town.inside("client2", asks(1, "http://10.96.255.77/"))
    assert "refused" in unknown, "an address that no service has"
    with pytest.raises(ConnectionRefusedError):
        _get(town.nodes[2].address, made["spec"]["ports"][0]["nodePort"])
    assert time.monotonic() - began < 15


def test_a_pod_reaches_itself_through_its_service(town: Town) -> None:
    alone = server_pod("alone", town.nodes[0].name, app="alone")
    town.apply(alone)
    address = town.made(service("alone", selector={"app": "alone"}))["spec"]["clusterIP"]
    until(lambda: town.address("alone") in rules(town.nodes[0]))
    assert set(by_pod(town.inside("alone", asks(10, f"http://{address}/")))) == {"alone"}
    town.ktool("delete", "pod", "alone", "-n", town.namespace, "--now")


def test_a_pod_that_goes_leaves_the_rules_and_one_that_comes_enters_them(town: Town) -> None:
    town.apply(server_pod("fleeting", town.nodes[1].name, app="fleeting"))
    town.made(service("fleeting", selector={"app": "fleeting"}))
    gone = town.address("fleeting")
    for node in town.nodes:
        until(lambda node=node: f"{gone} . 8080" in rules(node), 5)
    assert [one["conditions"]["ready"] for one in town.endpoints("fleeting")] == [True]
    town.ktool("delete", "pod", "fleeting", "-n", town.namespace, "--now")
    for node in town.nodes:
        until(lambda node=node: f"{gone} . 8080" not in rules(node), 5)
    assert town.endpoints("fleeting") == []


def test_a_client_with_affinity_stays_with_its_pod_also_when_the_rules_change(town: Town) -> None:
    address = town.made(service("sticky", sessionAffinity="ClientIP"))["spec"]["clusterIP"]
    first = {client: by_pod(town.inside(client, asks(12, f"http://{address}/"))) for client in CLIENTS}
    assert all(len(answers) == 1 for answers in first.values()), first
    town.made(service("another"))  # a change of the table forgets no client
    for client in CLIENTS:
        assert set(by_pod(town.inside(client, asks(4, f"http://{address}/")))) == set(first[client])


ECHO = (
    "use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in(5353, INADDR_ANY));"
    " while (1) { my $from = recv(S, my $text, 512, 0); send(S, qq(echo $text), 0, $from) }"
)
ASK = (
    "use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); my $to = sockaddr_in(53, inet_aton(shift));"
    " connect(S, $to); send(S, q(hello), 0); my $text; alarm 5;"
    " print defined recv(S, $text, 512, 0) ? $text : qq(no: $!)"
)


def test_datagrams(town: Town) -> None:
    echo = pod("echo", container("main", "perl", "-e", ECHO), **on_node(town.nodes[1].name))
    town.apply(labelled(echo, app="echo"))
    ports = [{"name": "udp", "port": 53, "targetPort": 5353, "protocol": "UDP"}]
    address = town.made(service("echo", selector={"app": "echo"}, ports=ports))["spec"]["clusterIP"]
    for client in CLIENTS:
        said = until(
            lambda client=client: "echo" in (said := town.inside(client, f"perl -e '{ASK}' {address}")) and said
        )
        assert said == "echo hello", client
    town.apply(service("nothing", selector={"app": "nothing"}, ports=ports))
    other = until(lambda: town.get("service", "nothing")["spec"].get("clusterIP"))
    assert "refused" in town.inside("client1", f"perl -e '{ASK}' {other}")


SERVE = (
    "use Socket; socket(L, PF_INET, SOCK_STREAM, 0); bind(L, sockaddr_in(5354, INADDR_ANY)); listen(L, 5);"
    " while (accept(C, L)) { while (defined(my $line = <C>)) { syswrite(C, qq(heard $line)) } close(C) }"
)
NAMED = ECHO.replace("echo $text", "$ENV{HOSTNAME}\\n")
ASK_ON = (  # from one and the same port, as a client with a socket of its own does
    "use Socket; $| = 1; socket(S, PF_INET, SOCK_DGRAM, 0); my $to = sockaddr_in(53, inet_aton(shift));"
    " connect(S, $to); $SIG{ALRM} = sub {}; while (! -e q(/tmp/stop)) { my $text = q(silence\n); send(S, q(x), 0);"
    " vec(my $in = q(), fileno(S), 1) = 1; recv(S, $text, 512, 0) if select($in, undef, undef, 0.3);"
    " print $text; select(undef, undef, undef, 0.1) }"
)
TALK = (
    "use Socket; $| = 1; socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(54, inet_aton(shift))) or die $!;"
    " syswrite(S, qq(one\n)); print scalar <S>; select(undef, undef, undef, 0.1) until -e q(/tmp/go);"
    " syswrite(S, qq(two\n)); print scalar <S>"
)


def test_when_an_endpoint_goes_its_connections_stay_and_its_datagrams_find_another(town: Town) -> None:
    def member(name: str, app: str) -> Any:
        made = pod(
            name,
            container("udp", "perl", "-e", NAMED),
            container("tcp", "perl", "-e", SERVE),
            **on_node(town.nodes[1].name),
        )
        return labelled(made, app=app)

    ports = [
        {"name": "udp", "port": 53, "targetPort": 5353, "protocol": "UDP"},
        {"name": "tcp", "port": 54, "targetPort": 5354},
    ]
    town.apply(member("early", "flow"))
    address = town.made(service("flow", selector={"app": "flow"}, ports=ports))["spec"]["clusterIP"]
    node, early = town.nodes[0], town.address("early")
    until(lambda: f"{early} . 5353" in rules(node), 5)
    for script, out in ((ASK_ON, "udp"), (TALK, "tcp")):
        town.inside("client1", f"perl -e '{script}' {address} >/tmp/{out} 2>&1 </dev/null &")
    until(lambda: "early" in town.inside("client1", "cat /tmp/udp") and "one" in town.inside("client1", "cat /tmp/tcp"))
    town.apply(member("late", "flow"))
    until(lambda: f"{town.address('late')} . 5353" in rules(node), 5)
    assert town.inside("client1", "tail -n 1 /tmp/udp").strip() == "early", "a flow stays while its endpoint is there"
    town.apply(member("early", "former"))
    until(lambda: f"{early} . 5353" not in rules(node), 5)
    until(lambda: town.inside("client1", "tail -n 1 /tmp/udp").strip() == "late", 5)
    town.inside("client1", "touch /tmp/go")
    until(lambda: town.inside("client1", "cat /tmp/tcp").split("\n")[:2] == ["heard one", "heard two"], 5)
    town.inside("client1", "touch /tmp/stop")


def test_pods_that_are_not_ready_are_published_where_that_is_asked_for(town: Town) -> None:
    half = server_pod("half", town.nodes[0].name, app="half")
    half["spec"]["containers"].append(container("bad", "sh", "-c", "exit 1"))
    early = service("early", selector={"app": "half"}, publishNotReadyAddresses=True)
    town.ktool("apply", "-n", town.namespace, "-f", "-", stdin=documents(half, early))
    late = town.made(service("late", selector={"app": "half"}))["spec"]["clusterIP"]
    address = until(lambda: town.get("service", "early")["spec"].get("clusterIP"))
    until(lambda: "v1 half" in town.inside("client2", asks(1, f"http://{address}/")), 15)
    assert "refused" in town.inside("client2", asks(1, f"http://{late}/"))
    conditions = [one["conditions"] for name in ("early", "late") for one in town.endpoints(name)]
    assert [(one["ready"], one["serving"]) for one in conditions] == [(True, False), (False, False)]
    town.ktool("delete", "pod", "half", "-n", town.namespace, "--now")


def test_endpoints_are_shown_in_the_old_form_and_taken_in_it(town: Town) -> None:
    town.made(service("shown"))
    expected = {f"{town.address(name)}:8080" for name in SERVERS}

    def shown() -> bool:
        words = town.ktool("get", "endpoints", "shown", "-n", town.namespace, "--no-headers").stdout.split()
        return words[0] == "shown" and set(words[1].split(",")) == expected

    until(shown, 5)
    plain = service("old")
    del plain["spec"]["selector"]
    subsets = [{"addresses": [{"ip": town.address("server3")}], "ports": [{"port": 8080}]}]
    old = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old"}, "subsets": subsets}
    address = town.made(plain, old)["spec"]["clusterIP"]
    until(lambda: set(by_pod(town.inside("client3", asks(4, f"http://{address}/")))) == {"server3"}, 5)


def test_slices_written_by_hand_are_honoured(town: Town) -> None:
    address = town.address("server2")
    by_hand = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"port": 8080}],
    }
    plain = service("by-hand")
    del plain["spec"]["selector"]
    found = town.made(plain, by_hand)["spec"]["clusterIP"]
    until(lambda: set(by_pod(town.inside("client3", asks(4, f"http://{found}/")))) == {"server2"}, 5)


def test_rules_that_somebody_flushed_come_back(town: Town) -> None:
    address = town.made(service("lasting"))["spec"]["clusterIP"]
    on(town.nodes[0], "nft delete table ip ktool-svc")
    town.apply(pod("stir", container("main"), **on_node(town.nodes[0].name)))  # what is settled is read again
    until(lambda: address in rules(town.nodes[0]), 40)


def test_a_deleted_service_is_refused_and_its_address_may_be_had_again(town: Town) -> None:
    address = town.made(service("brief"))["spec"]["clusterIP"]
    assert "v1 server" in town.inside("client1", asks(1, f"http://{address}/"))
    town.ktool("delete", "service", "brief", "-n", town.namespace)
    until(lambda: "refused" in town.inside("client1", asks(1, f"http://{address}/")), 5)
    assert town.made(service("brief"))["spec"]["clusterIP"] == address


def test_what_another_service_has_is_refused(town: Town) -> None:
    made = town.made(service("first", type="NodePort"))
    address, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    ports = [{"port": 81, "targetPort": 8080, "nodePort": port}]
    second = documents(service("second", clusterIP=address, type="NodePort", ports=ports))
    said = town.ktool("apply", "-n", town.namespace, "-f", "-", stdin=second, status=1).stderr
    for path, value in (("spec.clusterIP", address), ("spec.ports[0].nodePort", port)):
        assert f"{path}: {value} is already allocated to service {town.namespace}/first" in said, said
    assert "v1 server" in town.inside("client1", asks(1, f"http://{address}/"))


def _get(address: str, port: int, path: str = "/") -> str:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()


def _own_address(towards: str) -> str:
    """The address of ours that the lab's nodes see."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((towards, 9))
        return str(probe.getsockname()[0])
