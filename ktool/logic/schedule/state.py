"""Scheduling state: the load of each node and the pod counts per domain, during one call of `place`.

The filters and scores read it. Nodes are numbers (their index in name order), so that the inner loops work on plain
lists; a placement updates one node and the counters its pod matters to, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from ktool.logic.schedule.model import Demand, HostPort, Labels, Namespaces, Node, Shape

ANY = ("0.0.0.0", "::")


class Load:
    """The load of one node: requests by resource, the number of pods, the amounts for the score, ports."""

    __slots__ = ("cpu", "memory", "pods", "ports", "requests")

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.pods = 0
        self.cpu = 0
        self.memory = 0
        self.ports: dict[tuple[str, int], set[str]] = {}

    def add(self, demand: Demand) -> None:
        for resource, amount in demand.requests:
            self.requests[resource] = self.requests.get(resource, 0) + amount
        self.pods += 1
        self.cpu += demand.cpu
        self.memory += demand.memory
        for port in demand.ports:
            self.ports.setdefault((port.protocol, port.port), set()).add(port.ip)

    def port_taken(self, port: HostPort) -> bool:
        """Whether two pods want the same port and protocol on one address; the wildcard covers every address."""
        taken = self.ports.get((port.protocol, port.port), ())
        return bool(taken) and (port.ip in ANY or port.ip in taken or any(ip in taken for ip in ANY))


class Counter:
    """A sum over pods by domain (the nodes that share a value of one label). `domain` gives each node's domain, -1
    where the label is missing; `counts` has one entry more than there are domains, which stays 0 and answers for -1.

    `weigh` gives one pod's contribution: 1 for a pod that a selector selects, the weight of a term for a pod that
    carries it. `counting` are the nodes whose pods are counted (all, where None); `ending`: whether terminating pods
    are.
    """

    __slots__ = ("_counting", "counts", "domain", "ending", "present", "total", "weigh")

    def __init__(
        self,
        domain: Sequence[int],
        weigh: Callable[[Shape], int],
        counting: Sequence[bool] | None = None,
        ending: bool = True,
    ) -> None:
        self.domain = domain
        self.weigh = weigh
        self.ending = ending
        self._counting = counting
        self.counts = [0] * (max(domain, default=-1) + 2)
        self.total = 0
        self.present = sorted({d for node, d in enumerate(domain) if d >= 0 and (counting is None or counting[node])})
        """The domains that have a node which counts."""

    def add(self, node: int, amount: int) -> None:
        domain = self.domain[node]
        if domain >= 0 and (self._counting is None or self._counting[node]):
            self.counts[domain] += amount
            self.total += amount


class State:
    """Nodes, their loads, and the pods on them by Shape."""

    def __init__(self, nodes: Iterable[Node], namespaces: Namespaces) -> None:
        self.nodes: list[Node] = sorted(nodes, key=lambda node: node.name)
        self.index = {node.name: number for number, node in enumerate(self.nodes)}
        self.loads = [Load() for _ in self.nodes]
        self.namespaces = namespaces
        self.touched: list[int] = []
        """The node of every placement, in order: per-node caches catch up from this log."""
        self._pods: dict[tuple[Shape, bool], dict[int, int]] = {}
        self._domains: dict[str, list[int]] = {}
        self._counters: dict[Hashable, Counter] = {}
        self._by_owner: dict[str, list[Counter]] = {}
        self._owned: dict[str, dict[Shape, None]] = {}
        self._interested: dict[Shape, list[tuple[Counter, int]]] = {}

    def occupy(self, node: int, shape: Shape, ending: bool = False) -> None:
        """Record a pod on a node: bound before, or just placed."""
        self.loads[node].add(shape.demand)
        self.touched.append(node)
        on = self._pods.get((shape, ending))
        if on is None:
            on = self._pods[shape, ending] = {}
            self._owned.setdefault(shape.owner, {})[shape] = None
        on[node] = on.get(node, 0) + 1
        if self._counters:
            for counter, weight in self._interest(shape):
                if counter.ending or not ending:
                    counter.add(node, weight)

    def shapes(self) -> Iterable[Shape]:
        """The shapes of the pods on nodes."""
        return dict.fromkeys(shape for shape, _ in self._pods)

    def domain(self, topology: str) -> list[int]:
        """For each node the number of its value of the label `topology`, -1 where it has none."""
        found = self._domains.get(topology)
        if found is None:
            values: dict[str, int] = {}
            found = [_number(node.labels, topology, values) for node in self.nodes]
            self._domains[topology] = found
        return found

    def counter(
        self,
        key: Hashable,
        topology: str,
        weigh: Callable[[Shape], int],
        *,
        owner: str = "",
        counting: Sequence[bool] | None = None,
        ending: bool = True,
    ) -> Counter:
        """The counter known as `key`, filled from the present pods and kept up to date from then on. With `owner` only
        pods of that controller count: no other pod is asked."""
        found = self._counters.get(key)
        if found is not None:
            return found
        counter = self._counters[key] = Counter(self.domain(topology), weigh, counting, ending)
        self._by_owner.setdefault(owner, []).append(counter)
        for shape in self._owned.get(owner, ()) if owner else self.shapes():
            if weight := weigh(shape):
                self._fill(counter, shape, weight)
                if shape in self._interested:
                    self._interested[shape].append((counter, weight))
        return counter

    def _fill(self, counter: Counter, shape: Shape, weight: int) -> None:
        for ending in (False, True) if counter.ending else (False,):
            for node, pods in self._pods.get((shape, ending), {}).items():
                counter.add(node, weight * pods)

    def _interest(self, shape: Shape) -> list[tuple[Counter, int]]:
        """The counters to which a pod of this shape contributes."""
        found = self._interested.get(shape)
        if found is None:
            counters = [*self._by_owner.get("", ()), *(self._by_owner.get(shape.owner, ()) if shape.owner else ())]
            found = [(counter, weight) for counter in counters if (weight := counter.weigh(shape))]
            self._interested[shape] = found
        return found


def _number(labels: Labels, topology: str, values: dict[str, int]) -> int:
    value = labels.get(topology)
    return -1 if value is None else values.setdefault(value, len(values))
