"""Work items of the node plane, and the protocol of events that make them.

`nodes.Nodes` queues the items and hands each to its handler; the parts of the node plane send it their events. As in
controller-runtime, an item is the whole message: nothing of what changed is in it.
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
    """Update of a node's network settings (links, rules, policies, names). Its pods need not be observed."""

    node: str


@dataclass(frozen=True)
class Health:
    """Report of the health of a node's containers. The node itself is not asked."""

    node: str


@dataclass(frozen=True)
class Gate:
    """Check of the termination gate: whether pods that it holds may end."""


WorkItem = Look | Settings | Health | Gate


class NodeEvents(Protocol):
    """Events of the node plane, sent from any thread by the node loops and their parts. `nodes.Nodes` implements it."""

    def node_changed(self, node: str, after: float = 0.0) -> None:
        """The node needs a Look, in so many seconds."""

    def health_changed(self, node: str, verdict: bool, act: bool) -> None:
        """Probes have results to report. `verdict`: one has changed; `act`: the node has to act on it."""

    def addresses_held(self) -> None:
        """Pods have addresses that network policies of other nodes depend on."""

    def rules_confirmed(self) -> None:
        """A node has confirmed the rules of another change of services."""

    def may_end(self, node: str) -> None:
        """A terminating pod of this node gets no new connections any more."""

    def reach_all(self) -> None:
        """Every real node needs a connection, because the gate waits for its confirmation."""

    def confirmations(self) -> list[float]:
        """NodeLoop.confirmed of each real node that has a loop."""
