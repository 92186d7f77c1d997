"""Drift reports: the plan of a node's next pass in words, for a person. nodeplane/drift calls it.

The deviations come from the loop's own planners (logic/plan/nodeplan, logic/plan/netplan): where they plan nothing
there is no drift, and what they plan is what the next pass does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktool.api.obj import Obj, deleting, name, namespace, uid
from ktool.logic.network.links import differences
from ktool.logic.node.nodeaction import (
    ContainerFact,
    CreateContainer,
    CreatePod,
    EnsureNetwork,
    NodeAction,
    NodeFacts,
    PodFact,
    RemoveContainer,
    RemovePod,
    RemoveVolumes,
    SetLinks,
    SetPolicies,
    SetRules,
    SetZone,
    StartContainer,
    StartPod,
    StopContainer,
    StopPod,
    WriteVolumes,
)
from ktool.logic.plan.netplan import Setting
from ktool.logic.plan.nodeplan import Lane, NodePlan


@dataclass(frozen=True)
class Drift:
    """One deviation: `what` it is, how it was `found`, and the `repair` that the next pass makes."""

    what: str
    found: str
    repair: str


def told(
    pods: Sequence[Obj], facts: NodeFacts, plan: NodePlan, settings: Iterable[Setting], have: Mapping[str, str]
) -> list[Drift]:
    """All deviations of a node. `plan` is nodeplan's result without failures and lanes under way, `settings` what
    netplan would set, `have` the hashes it compared with."""
    found: list[Drift] = []
    for action in plan.setup:
        found += _setup(action, facts)
    for setting in settings:
        if isinstance(setting, SetLinks):
            found += [Drift(one.what, one.found, one.repair) for one in differences(setting.links, facts.links)]
        else:
            found.append(_setting(setting, have))
    on_node = {fact.uid: fact for fact in facts.pods}
    wanted = {uid(pod): pod for pod in pods}
    for lane in plan.lanes:
        found += _lane(lane, wanted.get(lane.uid), on_node.get(lane.uid))
    for own, why in plan.waiting.items():
        found.append(Drift(_pod(wanted.get(own), on_node.get(own), own), why, "will be carried on when it is due"))
    for (own, container), failure in plan.problems.items():
        what = _part(_pod(wanted.get(own), on_node.get(own), own), container)
        found.append(Drift(what, f"cannot be made: {failure.message}", "will be made when that is mended"))
    return found


# --- the node ----------------------------------------------------------------------------------------------------


def _setup(action: NodeAction, facts: NodeFacts) -> Iterator[Drift]:
    match action:
        case EnsureNetwork(subnet):
            found = facts.network_trouble or (f"has the subnet {facts.network}" if facts.network else "missing")
            yield Drift(f"pod network {subnet}", found, "will be made as it should be")
        case _:
            yield Drift(_words(action), "not as desired", "will be set")


_SETTINGS = {
    SetPolicies: ("network policies", "missing", "will be written"),
    SetRules: ("service rules", "missing, or without effect", "will be written"),
    SetZone: ("name server", "not running", "will be started"),
}


def _setting(setting: Setting, have: Mapping[str, str]) -> Drift:
    what, missing, repair = _SETTINGS.get(type(setting), (_words(setting), "missing", "will be set"))
    if have.get(type(setting).__name__):
        return Drift(what, "outdated", "will be brought up to date")
    return Drift(what, missing, repair)


def _words(action: object) -> str:
    """A fallback name for an action type: `SetPolicies` -> `set policies`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in type(action).__name__).strip()


# --- pods --------------------------------------------------------------------------------------------------------


def _lane(lane: Lane, pod: Obj | None, fact: PodFact | None) -> Iterator[Drift]:
    what = _pod(pod, fact, lane.uid)
    kinds = {type(action) for action in lane.actions}
    if pod is None or deleting(pod):
        if kinds == {RemoveVolumes}:
            yield Drift(f"files of {what}", "left over", "will be removed")
        else:
            yield Drift(
                what, "extra" if pod is None else "still there, and to be deleted", "will be stopped and removed"
            )
    elif CreatePod in kinds:
        yield Drift(what, "missing", "will be made and started")
    elif RemovePod in kinds:
        yield Drift(what, "broken (its infra container is gone)", "will be removed and made again")
    elif kinds <= {StopPod}:
        yield Drift(what, "runs, and has ended for good", "will be stopped")
    else:
        yield from _containers(lane, what, fact)


def _containers(lane: Lane, what: str, fact: PodFact | None) -> Iterator[Drift]:
    """Deviations of a pod that exists: container by container, and its files."""
    seen = {found.name: found for found in fact.containers} if fact else {}
    replaced = {action.container for action in lane.actions if isinstance(action, RemoveContainer)}
    made = {action.container for action in lane.actions if isinstance(action, CreateContainer)}
    for action in lane.actions:
        match action:
            case StartPod():
                for own in sorted(set(seen) - made):
                    yield Drift(_part(what, own), _state(seen[own]), "will be started")
                if not seen:
                    yield Drift(what, "not running", "will be started")
            case StartContainer(container=own) if own not in made:
                yield Drift(_part(what, own), _state(seen.get(own)), "will be started")
            case StopContainer(container=own) if own not in replaced:
                yield Drift(_part(what, own), "runs, and should not", "will be stopped")
            case CreateContainer(container=own) if own in replaced:
                yield Drift(_part(what, own), f"outdated (image {seen[own].image})", "will be made anew")
            case CreateContainer(container=own):
                yield Drift(_part(what, own), "missing", "will be made and started")
            case WriteVolumes(volumes=volumes):
                for volume in volumes:
                    yield Drift(f"volume {volume.name} of {what}", "missing or outdated", "will be written")


def _state(fact: ContainerFact | None) -> str:
    if fact is None:
        return "missing"
    return f"exited with {fact.exit_code}" if fact.state == "exited" else f"not running ({fact.state})"


def _pod(pod: Obj | None, fact: PodFact | None, own: str) -> str:
    if pod is not None:
        return f"pod {namespace(pod)}/{name(pod)}"
    return f"pod {fact.namespace}/{fact.name}" if fact is not None else f"pod of uid {own}"


def _part(what: str, container: str) -> str:
    return f"container {container} of {what}" if container else what
