"""Work items of the node plane, and the events that make them.

`nodes.Nodes` queues the items and hands each to its handler; the parts of the node plane tell it what happened through
the one protocol NodeEvents. As in controller-runtime, an item is the whole message: nothing of what changed is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Look:
    """One pass of a node's loop: observe, plan, report, act."""

    node: str


@dataclass(frozen=True)
class Settings:
    """Bring a node's network settings (links, rules, policies, names) up to date. Its pods need not be looked at."""

    node: str


@dataclass(frozen=True)
class Health:
    """Write down what probes say of a node's containers. The node itself is not asked."""

    node: str


@dataclass(frozen=True)
class Gate:
    """Look whether pods that wait at the gate may end."""


WorkItem = Look | Settings | Health | Gate


class NodeEvents(Protocol):
    """What the parts of the node plane report, from any thread. Nodes implements it."""

    def node_changed(self, node: str, after: float = 0.0) -> None:
        """The node has to be looked at, in so many seconds."""

    def health_changed(self, node: str, verdict: bool, act: bool) -> None:
        """Probes have something to tell. `verdict`: one has changed; `act`: something is to be done on the node."""

    def addresses_held(self) -> None:
        """Pods were given addresses that network policies of other nodes depend on."""

    def rules_confirmed(self) -> None:
        """A node has confirmed the rules of another change of services."""

    def may_end(self, node: str) -> None:
        """A pod of this node that is being deleted gets no new connections any more."""

    def reach_all(self) -> None:
        """Every real node has to have a connection, because it is waited for."""

    def confirmations(self) -> list[float]:
        """For each real node that is reached, the number of the last change of services that it has for certain; inf
        for one that cannot be told."""
