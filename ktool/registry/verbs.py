"""The verbs of the API inside one transaction, for one Actor, and the one door through which they write.

Registry, execute and apply are built from them, and so is the rehearsal, on objects in memory. A verb asks for
authorization, shapes what the client sent (shaping, deletion, events) and ends in `write` or `remove`:

    authorize -> shape -> identify -> admission -> managed fields -> put -> audit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktool.api import patch as patches
from ktool.api.action import Emit
from ktool.api.errors import already_exists, bad_request, conflict, not_found
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, deleting, name, namespace, with_condition
from ktool.api.pod import node_of
from ktool.api.ref import EVENT, NAMESPACE, POD, Ref
from ktool.registry import admission, authorize, deletion, events, shaping
from ktool.registry.admission import Check, Judge, Reader
from ktool.registry.authorize import Policy
from ktool.registry.deletion import DeleteOptions
from ktool.registry.request import Actor, Attributes, Objects, Record


@dataclass(frozen=True)
class Setup:
    """What verbs work with in every transaction. `new_uid` gives an identity to each new object, `suffix` five
    characters for the end of a generated name; an Actor may do what any of `policies` allows."""

    kinds: Kinds
    new_uid: Callable[[], str]
    suffix: Callable[[], str]
    policies: Sequence[Policy] = (authorize.masters,)
    chain: Sequence[Check] = admission.FOR_CLIENTS
    judge: Judge = field(default_factory=Judge)


class Verbs:
    """All of them raise ApiError for a refusal, and then have written nothing. `now` in seconds since 1970. `records`
    are the writes so far: the audit."""

    def __init__(self, tx: Objects, setup: Setup, actor: Actor, now: float) -> None:
        self.tx, self.kinds, self.actor, self.now = tx, setup.kinds, actor, now
        self._setup = setup
        self._reader = Reader(tx, setup.kinds, setup.judge)
        self.records: list[Record] = []

    def find(self, kind: Kind, ref: Ref) -> Obj:
        """The object. ApiError 404 where there is none, 500 where its content cannot be read."""
        return shaping.readable(self._found(kind, ref))

    def _found(self, kind: Kind, ref: Ref) -> Obj:
        found = self.tx.get(ref.key)
        if found is None:
            raise not_found(kind.resource, ref.name)
        return found

    # --- the door

    def asked(self, verb: str, ref: Ref, subresource: str = "") -> Attributes:
        """The request, if this actor may make it. ApiError 403 otherwise."""
        attributes = Attributes(verb, ref.gk, ref.namespace, ref.name, subresource)
        authorize.check(self._setup.policies, self.kinds, attributes, self.actor)
        return attributes

    def write(self, asked: Attributes, kind: Kind, old: Obj | None, new: Obj) -> Obj:
        """Write what a verb has made of an object, or of none. `old` itself is no change and is not written; an object
        that only waited for this change before its end is removed."""
        if new is old:
            return new
        key = asked.ref.key
        if old is None:
            new = shaping.stamped(kind, new, self._setup.new_uid(), self.now)
        new = admission.admitted(self._setup.chain, asked, old, new, self._reader) or new
        if old is None:
            if self.tx.get(key) is not None:
                raise already_exists(kind.resource, asked.name)
        elif deletion.gone(kind, new):
            return self.remove(asked, old)
        # The place for metadata.managedFields of self.actor.manager: every write comes by, and none twice.
        done = self.tx.put(key, new)
        self.records.append(Record(self.actor, asked, old, done))
        return done

    def remove(self, asked: Attributes, old: Obj) -> Obj:
        """Take an object away; with a Namespace go the Events in it, which nothing waits for. Returns it as it was
        last."""
        admission.admitted(self._setup.chain, asked, old, None, self._reader)
        if asked.gk == NAMESPACE:
            for event in self._reader.list(EVENT, asked.name):
                self.remove(Attributes(asked.verb, EVENT, asked.name, name(event)), event)
        done = self.tx.remove(asked.ref.key) or old
        self.records.append(Record(self.actor, asked, done, None))
        return done

    # --- create

    def create(self, obj: Obj) -> Obj:
        kind = shaping.kind_of(self.kinds, obj)
        wanted = shaping.prepared(kind, kind.stored(obj), self._setup.suffix)
        asked = self.asked("create", Ref(kind.gk, namespace(wanted), name(wanted)))
        return self.write(asked, kind, None, self._setup.judge.shaped(kind, wanted))

    # --- update

    def update(self, kind: Kind, ref: Ref, new: Obj, subresource: str = "") -> Obj:
        """Replace what the subresource covers: the status, the scale, or (for "") everything but the status. An
        update that changes nothing writes nothing. Returns the whole object."""
        return self.change(kind, self.asked("update", ref, subresource), lambda old: new)

    def patch(
        self,
        kind: Kind,
        ref: Ref,
        patch: Any,
        type: str = "merge",
        subresource: str = "",
        version: str = "",
        uid: str = "",
    ) -> Obj:
        """`type` is merge (RFC 7386), json (RFC 6902) or strategic; it is applied to the object as `version` has it.
        With `uid`, only that very object. Returns the whole object."""

        def make(old: Obj) -> Obj:
            shaping.check_uid(kind, old, uid)
            target = shaping.scale_of(old) if subresource == "scale" else kind.shown(old, version or kind.version)
            return _patched(kind, target, patch, type)

        return self.change(kind, self.asked("patch", ref, subresource), make)

    def change(self, kind: Kind, asked: Attributes, make: Callable[[Obj], Obj]) -> Obj:
        """What `make` makes of the object as it is, by the rules for updates."""
        old = self.find(kind, asked.ref)
        _check_subresource(kind, asked.subresource)
        return self.write(asked, kind, old, self._changed(kind, old, make(old), asked.subresource))

    def _changed(self, kind: Kind, old: Obj, new: Obj, subresource: str) -> Obj:
        """What becomes of an object; `old` itself where nothing changes."""
        if subresource == "scale":
            new = shaping.scaled(kind, old, new)
        else:
            _check_same(kind, old, new)
            new = kind.stored(new)
        shaping.check_preconditions(kind, old, new)
        if subresource == "status":
            return shaping.status_updated(kind, old, new)
        return shaping.updated(self._setup.judge, kind, old, new)

    # --- status, events and bindings of components

    def set_status(self, ref: Ref, old: Obj, status: Obj) -> Obj:
        """A status by the component that owns it; it is taken as it is."""
        asked = self.asked("update", ref, "status")
        return self.write(asked, shaping.named(self.kinds, ref.gk), old, {**old, "status": status})

    def record(self, emit: Emit, ref: Ref) -> None:
        """Count one sighting in the Event `ref`. In a namespace that is going, or gone, nothing is recorded."""
        if NAMESPACE in self.kinds:
            within = self.tx.get(Ref(NAMESPACE, "", ref.namespace).key)
            if within is None or deleting(within):
                return
        old = self.tx.get(ref.key)
        asked = self.asked("create" if old is None else "patch", ref)
        about = self.kinds.get(emit.ref.gk)
        version = about.api_version if about is not None else ""
        new = events.recorded(old, ref, emit, api_version=version, component=self.actor.manager, now=self.now)
        self.write(asked, shaping.named(self.kinds, EVENT), old, new)

    def bind(self, ref: Ref, node: str, uid: str = "") -> Obj:
        """core/v1 Binding: the node of a Pod and its condition PodScheduled. ApiError 409 where it has another node, is
        being deleted, or is not the one with that `uid`."""
        asked = self.asked("create", ref, "binding")
        kind = shaping.named(self.kinds, POD)
        pod = self._found(kind, ref)
        shaping.check_uid(kind, pod, uid)
        bound = node_of(pod)
        if bound == node:
            return pod
        if bound:
            raise conflict("pods/binding", ref.name, f"pod {ref.name} is already assigned to node {bound}")
        if deleting(pod):
            why = f"pod {ref.name} is being deleted, cannot be assigned to a host"
            raise conflict("pods/binding", ref.name, why)
        status = pod.get("status") or {}
        conditions = with_condition(status.get("conditions") or (), "PodScheduled", "True", self.now)
        spec = {**(pod.get("spec") or {}), "nodeName": node}
        return self.write(asked, kind, pod, {**pod, "spec": spec, "status": {**status, "conditions": conditions}})

    # --- delete

    def delete(self, kind: Kind, ref: Ref, options: DeleteOptions) -> Obj:
        """Remove an object, or mark it as being deleted where something stands before its end; also what cannot be
        read: that is how one gets rid of it. Returns it as it was last, or as it is now."""
        asked = self.asked("delete", ref)
        old = self._found(kind, ref)
        new = deletion.marked(kind, old, options, self.now)
        if options.propagation == "Orphan":
            for its, dependent in deletion.dependents(self._reader, old):
                freed = Attributes("patch", its.gk, namespace(dependent), name(dependent))
                self.write(freed, its, dependent, deletion.orphaned(shaping.readable(dependent), old))
        return self.write(asked, kind, old, new)


def _patched(kind: Kind, target: Obj, patch: Any, type: str) -> Obj:
    """What a patch makes of `target`. ApiError 400 for one that cannot be read, has no such type or leaves nothing."""
    if type == "json":
        new = patches.json_patch(target, patch)
    elif not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    elif type == "merge":
        new = patches.merge(target, patch)
    elif type == "strategic":
        new = patches.strategic(target, patch, kind.schema)
    else:
        raise bad_request(f'patch type "{type}" is not one of merge, json, strategic')
    if not isinstance(new, dict):
        raise bad_request("the patch leaves no object")
    return new


def _check_subresource(kind: Kind, subresource: str) -> None:
    if subresource and subresource not in kind.subresources:
        raise not_found(f"{kind.resource}/{subresource}", "")
    if subresource not in ("", "status", "scale"):
        raise bad_request(f"{subresource} of {kind.resource} cannot be written")


def _check_same(kind: Kind, old: Obj, new: Obj) -> None:
    if new.get("kind") != kind.name or not kind.serves(str(new.get("apiVersion"))):
        said = f"{new.get('apiVersion')} {new.get('kind')}"
        raise bad_request(f"the kind of the object ({said}) is not the one expected ({kind.api_version} {kind.name})")
    if not isinstance(new.get("metadata"), dict):
        raise bad_request("the object has no metadata")
    if name(new) != name(old):
        raise bad_request(
            f"the name of the object ({name(new)}) does not match the name that was asked for ({name(old)})"
        )
    if namespace(new) and namespace(new) != namespace(old):
        raise bad_request(
            f"the namespace of the object ({namespace(new)}) does not match the one that was asked for "
            f"({namespace(old)})"
        )
