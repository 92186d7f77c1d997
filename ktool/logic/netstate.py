"""How the network of one node is, beside how it should be: for `describe node`, `network show` and whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktool.logic import netplan
from ktool.logic.netplan import Setting
from ktool.logic.nodeaction import Failure, NodeFacts

CONDITION = "NetworkUnavailable"
"""The condition of a Node that says so (core/v1 NodeConditionType): True is bad."""

OK, MISSING, OUTDATED = "ok", "missing", "outdated"
LONGEST = 300


@dataclass(frozen=True)
class NetState:
    """`network`: the pod subnet in force, or "" with its `trouble`. `routes` there are as they should be, of so many
    that are `wanted`. `settings`: name of the setting (SetRules, SetZone) -> ok, missing or outdated; `hashes`: what is
    in force, by the same names."""

    network: str
    trouble: str
    routes: int
    wanted: int
    settings: Mapping[str, str]
    hashes: Mapping[str, str]

    @property
    def good(self) -> bool:
        right = all(found == OK for found in self.settings.values())
        return bool(self.network) and self.routes == self.wanted and right


def state(facts: NodeFacts, settings: Iterable[Setting], routes: Iterable[tuple[str, str]]) -> NetState:
    """From what was seen on a node, what it should be told (engine/netview) and its routes (logic/routes)."""
    have, wanted = netplan.seen(facts), set(routes)
    return NetState(
        network=facts.network,
        trouble=facts.network_trouble,
        routes=len(wanted & set(facts.routes)),
        wanted=len(wanted),
        settings={type(one).__name__: _judged(one.hash, have.get(type(one).__name__, "")) for one in settings},
        hashes=have,
    )


def _judged(wanted: str, have: str) -> str:
    if not have:
        return MISSING
    return OK if have == wanted else OUTDATED


def condition(failures: Mapping[tuple[str, str], Failure]) -> tuple[str, str, str]:
    """Status, reason and message of CONDITION. `failures` as nodeplan's: those under no pod are the node's own."""
    own = {key: failure for key, failure in failures.items() if not key[0]}
    if not own:
        return "False", "NetworkReady", "pod network, routes, service rules and names were set without an error"
    text = "; ".join(f"{failure.step}: {failure.message}" for _, failure in sorted(own.items()))
    return "True", "NetworkNotReady", text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
