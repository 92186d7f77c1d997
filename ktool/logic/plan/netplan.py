"""Plan of a node's network settings: links, service rules, policies and DNS zone that differ from the wanted ones.

nodeplane/ performs it. It is separate from the plan of pods because it depends on nothing observed of them: running
lanes do not hold it up, and a failure here does not hold up pods.
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
    """`settings` to perform now; `after`: requeue in so many seconds, for failed settings whose back-off is not
    over."""

    settings: tuple[Setting, ...] = ()
    after: float | None = None


def seen(facts: NodeFacts) -> dict[str, str]:
    """The hashes of a node's present settings, by the name of their action."""
    return {
        SetLinks.__name__: facts.links.hash,
        SetRules.__name__: facts.rules,
        SetPolicies.__name__: facts.policies,
        SetZone.__name__: facts.zone,
    }


def standing(wanted: Iterable[Setting], have: Mapping[str, str], failures: Failures) -> dict[tuple[str, str], Failure]:
    """The failures without those of settings that are right by now: the wanted state may have changed, not the node."""
    right = {type(one).__name__ for one in wanted if have.get(type(one).__name__) == one.hash}
    return {key: failure for key, failure in failures.items() if key[0] or key[1] not in right}


def unguarded(wanted: SetPolicies, have: str, in_force: SetPolicies) -> frozenset[str]:
    """The uids of isolated pods that the node's rules do not cover: they must not start. `have` is the hash of the
    node's rules, `in_force` what was set last. Older rules cover the pods they isolate."""
    if have == wanted.hash:
        return frozenset()
    return wanted.pods - (in_force.pods if in_force.hash == have else frozenset())


def starts(lane: Lane) -> NodeAction | None:
    """The first action of a lane that makes something run."""
    return next((one for one in lane.actions if isinstance(one, CreatePod | StartPod | StartContainer)), None)


def refresh(wanted: Iterable[Setting], have: Mapping[str, str], failures: Failures, now: float) -> Refresh:
    """Those of `wanted` that the node does not have. `failures` in the form of nodeplan; those of a setting have the
    name of its action as key."""
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
