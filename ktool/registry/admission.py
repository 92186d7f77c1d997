"""Admission: the chain of checks between what a verb is about to write and the write itself, in their order.

Each is a small pure function of the request, the object before and after, and a Reader. It gives back the object to
write, its own where it changes it, or refuses with an ApiError. `old` is None for a new object, `new` is None where
one is removed. What changes an object has its place before `valid`, what only judges it after. The verbs call
`admitted`, in the one door through which everything is written (registry/verbs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ktool.api.errors import Cause, conflict, forbidden, invalid, not_found
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, deleting, get, meta, name
from ktool.api.ref import EVENT, NAMESPACE, GroupKind, Ref
from ktool.api.rules import validation
from ktool.registry.request import Attributes, Objects

KEPT_NAMESPACES = ("default", "kube-system", "kube-public")


class Judge:
    """Shape, defaults and rules of objects (api/rules/validation), as refusals."""

    def shaped(self, kind: Kind, obj: Obj) -> Obj:
        """The object with all its defaults. ApiError 422 where its fields are wrong."""
        if causes := validation.shape_causes(kind, obj):
            raise refused(kind, obj, causes)
        return validation.defaulted(kind, obj)

    def causes(self, kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
        return validation.causes(kind, obj, old)


class SpecMemo(Judge):
    """The Judge of components: it knows specs it has seen, by identity. A controller creates many objects around one
    and the same spec (a template's): defaults and rules of the first of them are those of the others."""

    LIMIT = 256

    def __init__(self) -> None:
        self._shaped: dict[tuple[int, int], tuple[Kind, Obj, Obj]] = {}
        self._valid: dict[tuple[int, int], tuple[Kind, Obj]] = {}

    def shaped(self, kind: Kind, obj: Obj) -> Obj:
        """The memo holds on to kind and spec themselves, so their identities cannot be those of others."""
        spec = obj.get("spec")
        known = self._shaped.get((id(kind), id(spec)))
        if known is not None:
            return {**obj, **known[2]}
        result = super().shaped(kind, obj)
        given = {key: result[key] for key in result if key in ("spec", "status")}
        if isinstance(spec, dict) and {**obj, **given} == result:
            if len(self._shaped) >= self.LIMIT:
                self._shaped.clear()
            self._shaped[id(kind), id(spec)] = (kind, spec, given)
        return result

    def causes(self, kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
        """Of a new object around a spec that was found valid only the metadata is judged, and of a component's Event
        nothing: the registry has composed it (events.recorded)."""
        if kind.gk == EVENT:
            return []
        spec = obj.get("spec")
        if old is not None or not isinstance(spec, dict):
            return super().causes(kind, obj, old)
        if (id(kind), id(spec)) in self._valid:
            return validation.meta_causes(kind, obj)
        found = super().causes(kind, obj, old)
        if not found:
            if len(self._valid) >= self.LIMIT:
                self._valid.clear()
            self._valid[id(kind), id(spec)] = (kind, spec)
        return found


class Reader:
    """What admission may look at: the kinds, the objects as the transaction has them, and the judge."""

    def __init__(self, objects: Objects, kinds: Kinds, judge: Judge) -> None:
        self._objects, self.kinds, self.judge = objects, kinds, judge

    def get(self, ref: Ref) -> Obj | None:
        return self._objects.get(ref.key)

    def list(self, gk: GroupKind, namespace: str | None = None) -> list[Obj]:
        return self._objects.list(gk.in_namespace(namespace))

    def kind(self, gk: GroupKind) -> Kind:
        """ApiError 404 where the kind is served no more."""
        found = self.kinds.get(gk)
        if found is None:
            raise not_found(gk.kind.lower(), "")
        return found


Check = Callable[[Attributes, Obj | None, Obj | None, Reader], Obj | None]


def admitted(chain: Sequence[Check], asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """What the chain makes of `new`. Raises the ApiError of the first check that refuses."""
    for check in chain:
        new = check(asked, old, new, reader)
    return new


def refused(kind: Kind, obj: Obj, causes: Sequence[Cause]) -> Exception:
    """422 with every cause; it finds a name also in metadata that makes no sense."""
    shown = str(get(obj, "metadata", "name") or get(obj, "metadata", "generateName") or "")
    return invalid(str(kind.gk), shown, causes)


# --- the checks --------------------------------------------------------------------------------------------------

_WHOLE = frozenset(("", "scale"))
"""Subresources of requests that bring a whole object. A status has been looked at alone; a binding is an edit of the
registry's own, as deletion is."""


def valid(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """Validation: the rules for metadata and those of the kind."""
    if new is None or asked.subresource not in _WHOLE or asked.verb == "delete":
        return new
    kind = reader.kind(asked.gk)
    if causes := reader.judge.causes(kind, new, old):
        raise refused(kind, new, causes)
    return new


def namespace_ready(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """The namespace of a new object exists (404) and is not being deleted (403)."""
    if old is not None or not asked.namespace or NAMESPACE not in reader.kinds:
        return new
    found = reader.get(Ref(NAMESPACE, "", asked.namespace))
    if found is None:
        raise not_found("namespaces", asked.namespace)
    if deleting(found):
        raise forbidden(
            f'{reader.kind(asked.gk).resource} "{asked.name}" is forbidden: unable to create new content in namespace '
            f"{asked.namespace} because it is being terminated"
        )
    return new


def namespace_kept(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """The namespaces that every cluster has cannot be deleted (403)."""
    if asked.verb == "delete" and asked.gk == NAMESPACE and asked.name in KEPT_NAMESPACES:
        raise forbidden(f'namespaces "{asked.name}" is forbidden: this namespace may not be deleted')
    return new


def namespace_empty(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """A Namespace that goes has nothing in it any more (409) but Events."""
    if new is None and asked.gk == NAMESPACE:
        for kind in reader.kinds:
            if kind.namespaced and kind.gk != EVENT and reader.list(kind.gk, asked.name):
                why = f"the namespace still has a {kind.name} in it"
                raise conflict(reader.kind(NAMESPACE).resource, asked.name, why)
    return new


def no_new_finalizers(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """What is being deleted gets no more finalizers (422), but by deletion itself."""
    if old is not None and new is not None and deleting(old) and asked.verb != "delete":
        added = sorted(set(meta(new).get("finalizers") or ()) - set(meta(old).get("finalizers") or ()))
        if added:
            message = f"no new finalizers can be added if the object is being deleted, found {', '.join(added)}"
            cause = Cause("metadata.finalizers", message, "FieldValueForbidden")
            raise refused(reader.kind(asked.gk), old, [cause])
    return new


def unique(asked: Attributes, old: Obj | None, new: Obj | None, reader: Reader) -> Obj | None:
    """What only one object of the kind can have is free (422; Rules.taken)."""
    if new is None or asked.subresource not in _WHOLE or asked.verb == "delete":
        return new
    kind = reader.kind(asked.gk)
    if kind.rules.taken is None:
        return new

    def others() -> list[Obj]:
        return [obj for obj in reader.list(asked.gk) if Ref.of(obj) != asked.ref]

    if causes := kind.rules.taken(new, old, others):
        raise invalid(str(kind.gk), name(new), causes)
    return new


FOR_COMPONENTS: tuple[Check, ...] = (valid, namespace_ready, namespace_kept, namespace_empty, no_new_finalizers)
"""Of what controllers ask for. They see all objects of a kind and give only what is free, so none is read for that."""

FOR_CLIENTS: tuple[Check, ...] = (*FOR_COMPONENTS, unique)
