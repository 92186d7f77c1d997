"""What a node is to be told anew of the cluster: links, rules, policies and names that are not those it has.

Apart from the plan of its pods, because it depends on nothing seen of them: it is not held up by lanes that run, and
pods are not held up where it fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktool.logic.node.backoff import retry_at
from ktool.logic.node.nodeaction import (
    CreatePod,
    Failure,
    Failures,
    NodeAction,
    NodeFacts,
    SetLinks,
    SetPolicies,
    SetRules,
    SetZone,
    StartContainer,
    StartPod,
)
from ktool.logic.plan.nodeplan import Lane

Setting = SetLinks | SetRules | SetPolicies | SetZone


@dataclass(frozen=True)
class Refresh:
    """`settings` to perform now; `after`: look again in so many seconds, for what failed and is not due yet."""

    settings: tuple[Setting, ...] = ()
    after: float | None = None


def seen(facts: NodeFacts) -> dict[str, str]:
    """The hash of each setting a node has, by the name of its action."""
    return {
        SetLinks.__name__: facts.links.hash,
        SetRules.__name__: facts.rules,
        SetPolicies.__name__: facts.policies,
        SetZone.__name__: facts.zone,
    }


def standing(wanted: Iterable[Setting], have: Mapping[str, str], failures: Failures) -> dict[tuple[str, str], Failure]:
    """The failures without those of settings that came right since: the world may have changed, not the node."""
    right = {type(one).__name__ for one in wanted if have.get(type(one).__name__) == one.hash}
    return {key: failure for key, failure in failures.items() if key[0] or key[1] not in right}


def unguarded(wanted: SetPolicies, have: str, in_force: SetPolicies) -> frozenset[str]:
    """The uids of pods that policies isolate and the node does not: they must not start. `have` is the hash of what
    the node has, `in_force` what it was told last. Older rules will do: they isolate the pods that they knew."""
    if have == wanted.hash:
        return frozenset()
    return wanted.pods - (in_force.pods if in_force.hash == have else frozenset())


def starts(lane: Lane) -> NodeAction | None:
    """The action of a lane by which something begins to run."""
    return next((one for one in lane.actions if isinstance(one, CreatePod | StartPod | StartContainer)), None)


def refresh(wanted: Iterable[Setting], have: Mapping[str, str], failures: Failures, now: float) -> Refresh:
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
