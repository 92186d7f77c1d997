"""Plan output of `apply --dry-run=server`: which pods would start and stop, on which nodes and in which order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ktool.api.kinds import Kinds
from ktool.api.marks import RESTART_ON_CONFIG_CHANGE
from ktool.api.obj import Obj, annotations_of, name
from ktool.api.ref import ENDPOINT_SLICE, EVENT, LEASE, POD, SECRET, GroupKind, Ref
from ktool.api.workload import Workload
from ktool.api.world import World
from ktool.follow.configrollouts import CONFIGS, following
from ktool.logic.workload import configuse
from ktool.present.table import safe
from ktool.registry.client import Applied, Client

if TYPE_CHECKING:
    from ktool.control.rehearsal import Course, Move

LEFT_OUT = frozenset({EVENT, LEASE, ENDPOINT_SLICE})
"""Kinds that no decision about pods depends on, of which there may be many."""
MOST_LINES = 60
_VERBS = {"start": "start", "stop": "stop", "wait": "cannot start"}


def lines(client: Client, applied: Sequence[Applied]) -> list[str]:
    """The plan, workload by workload; none where no pod would start or stop."""
    from ktool.control.rehearsal import concerned, play

    if not any(_matters(client.kinds, one.ref.gk) for one in applied):
        return []
    world = World(_objects(client))
    for one in applied:
        world.set(one.obj)
    named = [one.ref for one in applied]
    others = [ref for one in applied for ref in _following(client.kinds, one, world)]
    refs = concerned(client.kinds, dict.fromkeys([*named, *others]))
    told: list[str] = []
    for ref in refs:
        course = play(world, client.kinds, [ref], time.time())
        obj = world.get(ref)
        if obj is not None and course.rounds:
            told += _course(client.kinds[ref.gk].workload or Workload(), obj, course)
    return [safe(line) for line in told]


def _objects(client: Client) -> Iterator[Obj]:
    """All that decisions depend on; Secrets only where a workload follows them."""
    follows = False
    for kind in sorted(client.kinds, key=lambda kind: kind.gk == SECRET):
        if kind.gk in LEFT_OUT or (kind.gk == SECRET and not follows):
            continue
        for obj in client.list(kind.gk).items:
            follows = follows or RESTART_ON_CONFIG_CHANGE in annotations_of(obj)
            yield obj


def _matters(kinds: Kinds, gk: GroupKind) -> bool:
    return gk in (*CONFIGS, POD) or kinds[gk].workload is not None


def _following(kinds: Kinds, applied: Applied, world: World) -> Iterable[Ref]:
    if applied.ref.gk not in CONFIGS or applied.outcome == "unchanged":
        return ()
    return [ref for gk in following(kinds) for ref in configuse.readers(gk, applied.obj, world)]


def _course(workload: Workload, obj: Obj, course: Course) -> list[str]:
    title = f"{Ref.of(obj).gk.display(name(obj))} would go this way"
    promise = workload.promise(obj)
    told = [f"{title}{f' ({promise})' if promise else ''}:"]
    width = len(str(len(course.rounds)))
    for number, moves in enumerate(course.rounds, 1):
        head = f"  {number:{width}}. "
        for line in _round(moves):
            told.append(head + line)
            head = " " * len(head)
    if len(told) > MOST_LINES:
        told = [*told[:MOST_LINES], f"  ... and so on, {len(course.rounds)} steps in all"]
    if course.unfinished:
        told.append("  ... and so on")
    return told + [f"  note: {note}" for note in [*workload.notes(obj), *course.notes]]


def _round(moves: Iterable[Move]) -> list[str]:
    """One line for each thing that happens at once, what starts before what stops."""
    grouped: dict[tuple[str, str, str], list[Move]] = {}
    for move in sorted(moves, key=lambda move: move.what == "stop"):
        grouped.setdefault((move.what, move.owner, move.because), []).append(move)
    return [_line(what, owner, because, group) for (what, owner, because), group in grouped.items()]


def _line(what: str, owner: str, because: str, group: Sequence[Move]) -> str:
    if what == "stop":
        return "stop " + ", ".join(f"{move.pod} on {move.node}" for move in group)
    pods = f"{'a pod' if len(group) == 1 else f'{len(group)} pods'} of {owner}" if owner else f"pod {group[0].pod}"
    where = f" on {', '.join(move.node for move in group)}" if what == "start" else f": {because}"
    return f"{_VERBS[what]} {pods}{where}"
