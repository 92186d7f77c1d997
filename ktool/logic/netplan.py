"""What a node is to be told anew of the cluster: links to other nodes, rules and names that are not those it has.

Apart from the plan of its pods, because it depends on nothing seen of them: it is not held up by lanes that run, and
pods are not held up where it fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktool.logic.backoff import retry_at
from ktool.logic.nodeaction import Failure, NodeFacts, SetLinks, SetRules, SetZone

Setting = SetLinks | SetRules | SetZone


@dataclass(frozen=True)
class Refresh:
    """`settings` to perform now; `after`: look again in so many seconds, for what failed and is not due yet."""

    settings: tuple[Setting, ...] = ()
    after: float | None = None


def seen(facts: NodeFacts) -> dict[str, str]:
    """The hash of each setting a node has, by the name of its action."""
    return {SetLinks.__name__: facts.links.hash, SetRules.__name__: facts.rules, SetZone.__name__: facts.zone}


def refresh(
    wanted: Iterable[Setting], have: Mapping[str, str], failures: Mapping[tuple[str, str], Failure], now: float
) -> Refresh:
    """Those of `wanted` that the node does not have. `failures` as nodeplan's; those of a setting lie under the name
    of its action."""
    due: list[Setting] = []
    wake: list[float] = []
    for setting in wanted:
        word = type(setting).__name__
        if have.get(word) == setting.hash:
            continue
        failure = failures.get(("", word))
        if failure is None or retry_at(failure) <= now:
            due.append(setting)
        else:
            wake.append(retry_at(failure) - now)
    return Refresh(tuple(due), min(wake, default=None))
