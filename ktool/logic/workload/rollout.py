"""Rollout arithmetic: the next size of each ReplicaSet of a Deployment.

logic/workload/deploymentplan, deploymentstatus and stopfirst call it. The rules are those of the Kubernetes
documentation (Deployments, "Strategy"): never more pods than replicas + maxSurge, never fewer available ones than
replicas - maxUnavailable, unhealthy old pods go first. A decision depends on sizes only, so it can be repeated at any
moment, after any interruption, with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """One ReplicaSet in numbers: wanted pods (spec.replicas), existing ones, available ones (Ready for
    minReadySeconds), Ready ones, and terminating ones that are still there. `sized_for` and `most`: the Deployment's
    replicas, and its maximum with surge, when it was sized last."""

    name: str
    wanted: int
    existing: int = 0
    available: int = 0
    ready: int = 0
    ending: int = 0
    most: int = 0
    sized_for: int | None = None

    @property
    def unhealthy(self) -> int:
        return max(0, self.wanted - self.available)


@dataclass(frozen=True)
class Limits:
    """maxSurge and maxUnavailable, in pods."""

    surge: int
    unavailable: int


def limits(replicas: int, max_surge: int | str, max_unavailable: int | str) -> Limits:
    """The limits for percentages of `replicas`: the surge rounds up, the unavailable down. Where both are 0 the rollout
    could not move, so one pod may be unavailable."""
    surge = -(-_hundredths(max_surge, replicas) // 100)
    unavailable = min(_hundredths(max_unavailable, replicas) // 100, replicas)
    if surge == 0 and unavailable == 0:
        return Limits(surge=0, unavailable=1)
    return Limits(surge, unavailable)


def _hundredths(value: int | str, replicas: int) -> int:
    """A number or a percentage of `replicas`, in hundredths of a pod, so that the caller chooses the rounding."""
    return value * 100 if isinstance(value, int) else int(value.rstrip("%")) * replicas


# --- RollingUpdate -----------------------------------------------------------------------------------------------


def rolling_update(replicas: int, new: Sizes, old: Sequence[Sizes], limit: Limits) -> dict[str, int]:
    """The next size of every ReplicaSet, by name; `old` with the oldest first.

    First the new one grows into the room that is left, then the old ones shrink by the pods not needed to stay
    available. Repeated after every change of a size or an availability, it ends with only the new one. A terminating
    pod takes room like any other.
    """
    grown = replace(new, wanted=_grow(replicas, new, old, limit))
    shrunk = _shrink(replicas, grown, old, limit)
    return {sizes.name: sizes.wanted for sizes in (grown, *shrunk)}


def _grow(replicas: int, new: Sizes, old: Sequence[Sizes], limit: Limits) -> int:
    if new.wanted >= replicas:
        return replicas
    room = replicas + limit.surge - sum(max(sizes.wanted, sizes.existing) for sizes in (new, *old))
    return new.wanted + max(0, min(room, replicas - new.wanted))


def _shrink(replicas: int, new: Sizes, old: Sequence[Sizes], limit: Limits) -> list[Sizes]:
    """Shrink old ReplicaSets as far as enough pods stay, counting every new pod that is not available yet as
    missing."""
    must_stay = replicas - limit.unavailable
    total = new.wanted + sum(sizes.wanted for sizes in old)
    may_go = total - must_stay - new.unhealthy
    if may_go <= 0:
        return list(old)
    without_unhealthy = _take_unhealthy(old, may_go)
    available = sum(min(sizes.available, sizes.wanted) for sizes in (new, *without_unhealthy))
    return _take(without_unhealthy, available - must_stay)


def _take_unhealthy(old: Sequence[Sizes], may_go: int) -> list[Sizes]:
    """Take unhealthy pods first: they serve no traffic, so removing them costs no availability."""
    result = []
    for sizes in old:
        going = min(sizes.unhealthy, may_go)
        may_go -= going
        result.append(replace(sizes, wanted=sizes.wanted - going))
    return result


def _take(old: Sequence[Sizes], may_go: int) -> list[Sizes]:
    result = []
    for sizes in old:
        going = max(0, min(sizes.wanted, may_go))
        may_go -= going
        result.append(replace(sizes, wanted=sizes.wanted - going))
    return result


# --- Recreate ----------------------------------------------------------------------------------------------------


def recreate(replicas: int, new: Sizes, old: Sequence[Sizes]) -> dict[str, int]:
    """Strategy Recreate: all old pods end before the first new one begins; pods not made yet are cancelled first."""
    gone = not any(sizes.wanted or sizes.existing or sizes.ending for sizes in old)
    return {**{sizes.name: 0 for sizes in old}, new.name: replicas if gone else new.wanted}


# --- scaling in the middle of a rollout --------------------------------------------------------------------------


def saturated(replicas: int, new: Sizes) -> bool:
    """Whether the new ReplicaSet has all wanted pods, available: old ones are not needed any more, not even while a
    rollout is paused."""
    return new.wanted == new.available == new.sized_for == replicas


def proportional(replicas: int, sets: Sequence[Sizes], limit: Limits) -> dict[str, int]:
    """Proportional scaling (see the documentation): a change of `replicas` while several ReplicaSets have pods is
    spread over them by size, so that a bad rollout does not get all the new pods. `sets` with the newest last; the
    rounding remainder goes to the largest, among equal ones to the newer when growing and to the older when shrinking.
    Where only one has pods (or none has, the newest), it is simply scaled: a surge belongs to a rollout."""
    active = [sizes for sizes in sets if sizes.wanted] or list(sets[-1:])
    result = {sizes.name: sizes.wanted for sizes in sets}
    if len(active) == 1:
        return {**result, active[0].name: replicas}
    total = sum(sizes.wanted for sizes in active)
    goal = replicas + limit.surge if replicas > 0 else 0
    left = goal - total
    by_size = sorted(reversed(active) if left > 0 else active, key=lambda sizes: -sizes.wanted)
    for sizes in by_size:
        share = _towards(round_half_away(sizes.wanted * goal / (sizes.most or total)) - sizes.wanted, left)
        result[sizes.name] += share
        left -= share
    result[by_size[0].name] = max(0, result[by_size[0].name] + left)
    return result


def round_half_away(value: float) -> int:
    """Round halves away from zero, as the documented arithmetic does."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def _towards(share: int, left: int) -> int:
    return max(left, min(0, share)) if left < 0 else min(left, max(0, share))


def complete(replicas: int, new: Sizes, old: Sequence[Sizes]) -> bool:
    """Whether every wanted pod is of the new ReplicaSet and available, and no old one exists any more."""
    return new.wanted == new.existing == new.available == replicas and not any(s.existing or s.wanted for s in old)
