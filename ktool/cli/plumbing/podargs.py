"""From what a user types after `logs` and `exec` to one pod and one container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktool.api.errors import UsageError, UserError
from ktool.api.marks import DEFAULT_CONTAINER
from ktool.api.obj import Obj, annotations_of, deleting, get, is_true, meta, name, namespace, uid
from ktool.api.pod import app_containers, containers_of, init_containers
from ktool.api.ref import POD, GroupKind, Ref
from ktool.api.world import World
from ktool.cli.plumbing import errors, resourceargs
from ktool.follow.follower import below

if TYPE_CHECKING:
    from ktool.registry.client import Client


def pod_of(client: Client, word: str, namespace_: str) -> Obj:
    """`web`, `pod/web`, or the best pod of a workload such as `deploy/web`. ApiError where there is none of the name,
    UserError where a workload has no pods."""
    kind_word, slash, rest = word.partition("/")
    if slash and (not kind_word or not rest or "/" in rest):
        raise UsageError(f"{word!r} is not of the form kind/name")
    kind = resourceargs.kind_named(kind_word if slash else "pods")
    obj = client.get(resourceargs.ref_of(kind, namespace_, rest if slash else word))
    if kind.gk == POD:
        return obj
    selector = kind.selects(obj) if kind.selects is not None else None
    pods = client.list(POD, namespace(obj), labels=selector.text).items if selector else _owned(client, obj)
    if not pods:
        own = "" if selector or kind.workload is not None else " of its own"
        raise UserError(f"{kind.display(name(obj))} has no pods{own}")
    return min(pods, key=_rank)


def _owned(client: Client, obj: Obj) -> list[Obj]:
    """The pods that an object owns, at any depth: up from the pods, so that it works for kinds of which only the server
    knows what they own."""
    world, todo, met = World(), [POD], set[GroupKind]()
    while todo:
        kind = client.kinds.get(todo.pop())
        if kind is None or kind.gk in met or kind.rules.redact is not None:
            continue
        met.add(kind.gk)
        for item in client.list(kind.gk, namespace(obj) if kind.namespaced and namespace(obj) else None).items:
            world.set(item)
            todo += [GroupKind.of(owner) for owner in meta(item).get("ownerReferences") or ()]
    return [found for found in below(world, uid(obj)) if GroupKind.of(found) == POD]


def _rank(pod: Obj) -> tuple[bool, bool, bool, str, str]:
    """The pod of a workload that most likely is meant: running, ready, not ending, the oldest."""
    running = get(pod, "status", "phase") == "Running"
    return deleting(pod), not running, not is_true(pod, "Ready"), meta(pod).get("creationTimestamp", ""), name(pod)


def container_of(pod: Obj, wanted: str) -> str:
    """The container asked for, else the annotated one, else the first: then with a note, as kubectl gives it."""
    known = [container["name"] for container in app_containers(pod)]
    if wanted:
        if all(container["name"] != wanted for container in containers_of(pod)):
            raise UserError(f"container {wanted} is not in pod {name(pod)}; it has {', '.join(known)}")
        return wanted
    annotated = annotations_of(pod).get(DEFAULT_CONTAINER, "")
    if annotated in known:
        return annotated
    if len(known) > 1:
        others = ", ".join([*known, *(f"{one['name']} (init)" for one in init_containers(pod))])
        errors.say(f'Defaulted container "{known[0]}" out of: {others}')
    return known[0] if known else ""


def ref(pod: Obj) -> Ref:
    return Ref(POD, namespace(pod), name(pod))
