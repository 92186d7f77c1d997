"""NetworkPolicy twice: as the documentation has it, judged connection by connection, and as the nodes have it, judged
by their rules' text. Neither knows the other."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any

from ktool.kinds import networkpolicy
from ktool.logic.network.isolation import isolated
from ktool.logic.network.policy import Policies, render

Obj = dict[str, Any]
DNS = {"name": "dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}, "ip": "10.96.0.10", "node": None}


def policy(name: str, space: str = "default", **spec: Any) -> Obj:
    """As the store has it: with its defaults."""
    obj = {"metadata": {"name": name, "namespace": space}, "spec": spec}
    return networkpolicy.KIND.rules.default(obj)  # type: ignore[misc]


def pod(short: Obj) -> Obj:
    """The Pod of {name, namespace, node, ip, labels, ports: {name: number}, and what else belongs to its spec}."""
    known = {"name", "namespace", "node", "ip", "labels", "ports", "phase"}
    ports = [{"name": key, "containerPort": number} for key, number in (short.get("ports") or {}).items()]
    spec = {key: value for key, value in short.items() if key not in known}
    metadata = {"name": short["name"], "namespace": short.get("namespace", "default"), "uid": f"uid-{short['name']}"}
    return {
        "kind": "Pod",
        "metadata": {**metadata, "labels": short.get("labels") or {}},
        "spec": {"nodeName": short.get("node"), "containers": [{"name": "main", "ports": ports}], **spec},
        "status": {"podIP": short.get("ip"), "phase": short.get("phase", "Running")},
    }


def space(name: str, labels: Obj | None = None) -> Obj:
    own = {"kubernetes.io/metadata.name": name, **(labels or {})}
    return {"kind": "Namespace", "metadata": {"name": name, "labels": own}}


def table(policies: list[Obj], pods: list[Obj], spaces: list[Obj], node: str, held: Any = None) -> Policies:
    return render(isolated(policies, pods, spaces, held or {}).get(node, ()))


# --- as documented -----------------------------------------------------------------------------------------------


def allowed(
    policies: list[Obj], pods: list[Obj], spaces: dict[str, Obj], here: Any, there: Any, protocol: str, port: int
) -> bool:
    """kubernetes.io/docs/concepts/services-networking/network-policies. `here` and `there`: a short pod, or an address
    of no pod."""
    if here is there:
        return True
    out = all_open("Egress", policies, spaces, here, there, there, protocol, port)
    return out and all_open("Ingress", policies, spaces, there, here, there, protocol, port)


def all_open(
    type_: str, policies: list[Obj], spaces: dict[str, Obj], own: Any, peer: Any, target: Any, protocol: str, port: int
) -> bool:
    if not isinstance(own, dict) or own["node"] is None:
        return True
    selecting = [
        one
        for one in policies
        if one["metadata"]["namespace"] == own["namespace"]
        and type_ in one["spec"]["policyTypes"]
        and fits(one["spec"]["podSelector"], own["labels"])
    ]
    if not selecting:
        return True
    key, who = ("ingress", "from") if type_ == "Ingress" else ("egress", "to")
    return any(
        (not rule.get(who) or any(is_peer(one, each, spaces, peer) for each in rule[who]))
        and (not rule.get("ports") or any(is_port(each, target, protocol, port) for each in rule["ports"]))
        for one in selecting
        for rule in one["spec"].get(key) or ()
    )


def is_peer(policy: Obj, peer: Obj, spaces: dict[str, Obj], found: Any) -> bool:
    if "ipBlock" in peer:
        address = ip_address(found["ip"] if isinstance(found, dict) else found)
        inside = address in ip_network(peer["ipBlock"]["cidr"])
        return inside and not any(address in ip_network(part) for part in peer["ipBlock"].get("except") or ())
    if not isinstance(found, dict):
        return False
    if "namespaceSelector" in peer:
        if not fits(peer["namespaceSelector"], spaces[found["namespace"]]["metadata"]["labels"]):
            return False
    elif found["namespace"] != policy["metadata"]["namespace"]:
        return False
    return fits(peer.get("podSelector") or {}, found["labels"])


def is_port(entry: Obj, target: Any, protocol: str, port: int) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    number = entry.get("port")
    if isinstance(number, str):
        return isinstance(target, dict) and protocol == "TCP" and target.get("ports", {}).get(number) == port
    return number is None or number <= port <= entry.get("endPort", number)


def fits(selector: Obj, labels: Obj) -> bool:
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


# --- as the rules have it ----------------------------------------------------------------------------------------


class Judge:
    """A reader of the text for what the kernel would do with a new connection."""

    def __init__(self, text: str) -> None:
        blocks = re.findall(r"^    (chain|set|map) (\S+) \{\n(.*?)^    \}", text, re.MULTILINE | re.DOTALL)
        self.chains = {
            name: [line.strip() for line in body.splitlines()] for kind, name, body in blocks if kind == "chain"
        }
        self.elements = {name: _elements(body) for kind, name, body in blocks if kind != "chain"}

    def lets(self, source: str, target: str, protocol: str, port: int) -> bool:
        """What the node forwards, or takes in for its DNS server."""
        at = [chain for chain, lines in self.chains.items() if "type filter hook forward" in " ".join(lines)]
        if target == DNS["ip"]:
            at = ["input-dns"]
        packet = {"saddr": source, "daddr": target, "protocol": protocol.lower(), "port": port}
        return all(self._run(chain, packet) for chain in at)

    def _run(self, chain: str, packet: Obj) -> bool:
        for line in self.chains[chain]:
            verdict = self._rule(line, packet)
            if verdict in ("accept", "drop"):
                return verdict == "accept"
            if verdict.startswith("goto "):
                return self._run(verdict.removeprefix("goto "), packet)
        return True

    def _rule(self, line: str, packet: Obj) -> str:
        words = line.split()
        if words[0] in ("type", "return") or words[:2] == ["ct", "state"]:
            return ""
        while words:
            match words:
                case ["ip", "saddr", ".", "ip", "daddr", "@self", *words]:
                    if f"{packet['saddr']} . {packet['daddr']}" not in self.elements["self"]:
                        return ""
                case ["ip", end, "vmap", name]:
                    elements = [one.split(" : ") for one in self.elements[name[1:]]]
                    return dict(elements).get(packet[end], "")  # type: ignore[arg-type]
                case ["ip", end, name, *words]:
                    if packet[end] != name and not any(
                        _in(packet[end], one) for one in self.elements.get(name[1:], ())
                    ):
                        return ""
                case ["meta", "l4proto", protocol, *words]:
                    if packet["protocol"] != protocol:
                        return ""
                case [protocol, "dport", "{", *rest]:
                    spans, words = rest[: rest.index("}")], rest[rest.index("}") + 1 :]
                    if packet["protocol"] != protocol or not any(
                        _spans(one.rstrip(","), packet["port"]) for one in spans
                    ):
                        return ""
                case [verdict]:
                    return verdict
                case _:
                    raise AssertionError(line)
        return ""


def _elements(body: str) -> list[str]:
    found = re.search(r"elements = \{(.*?)\}", body, re.DOTALL)
    return [" ".join(one.split()) for one in found[1].split(",")] if found else []


def _in(address: str, element: str) -> bool:
    first, _, last = element.partition("-")
    return ip_address(first) <= ip_address(address) <= ip_address(last or first)


def _spans(span: str, port: int) -> bool:
    first, _, last = span.partition("-")
    return int(first) <= port <= int(last or first)
