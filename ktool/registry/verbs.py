"""The verbs of the API inside one transaction. The registry, execute and apply are built from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ktool.api import patch as patches
from ktool.api.errors import already_exists, bad_request, invalid, not_found
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, name, namespace
from ktool.api.ref import Ref
from ktool.registry import admission, deletion
from ktool.registry.deletion import DeleteOptions
from ktool.registry.scale import scale_of, scaled
from ktool.store.store import Transaction


class Verbs:
    """All of them raise ApiError for a refusal, and then have written nothing. `now` in seconds since 1970."""

    def __init__(
        self, tx: Transaction, kinds: Kinds, now: float, new_uid: Callable[[], str], suffix: Callable[[], str]
    ) -> None:
        self.tx, self.kinds, self.now = tx, kinds, now
        self.new_uid, self.suffix = new_uid, suffix

    def find(self, kind: Kind, ref: Ref) -> Obj:
        """The object. ApiError 404 where there is none, 500 where its content cannot be read."""
        return admission.readable(self._found(kind, ref))

    def _found(self, kind: Kind, ref: Ref) -> Obj:
        found = self.tx.get(ref.key)
        if found is None:
            raise not_found(kind.resource, ref.name)
        return found

    # --- create

    def create(self, obj: Obj) -> Obj:
        kind = admission.kind_of(self.kinds, obj)
        wanted = admission.validated(kind, admission.prepared(kind, kind.stored(obj), self.suffix))
        self.check_free(kind, wanted, None)
        return self.insert(kind, wanted)

    def insert(self, kind: Kind, obj: Obj) -> Obj:
        """Write a new object that is prepared and validated."""
        admission.namespace_ready(self.tx, self.kinds, kind, obj)
        key = Ref(kind.gk, namespace(obj), name(obj)).key
        if self.tx.get(key) is not None:
            raise already_exists(kind.resource, name(obj))
        return self.tx.put(key, admission.stamped(kind, obj, self.new_uid(), self.now))

    # --- update

    def update(self, kind: Kind, ref: Ref, new: Obj, subresource: str = "") -> Obj:
        """Replace what the subresource covers: the status, the scale, or (for "") everything but the status. An
        update that changes nothing writes nothing. Returns the whole object."""
        return self._ask(kind, self.find(kind, ref), new, subresource)

    def _ask(self, kind: Kind, old: Obj, new: Obj, subresource: str) -> Obj:
        """A change that a client asks for."""
        wanted = self._changed(kind, old, new, subresource)
        self.check_free(kind, wanted, old)
        return self.store(kind, old, wanted)

    def change(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """A change by a controller, which sees all objects of the kind and gives only what is free."""
        return self.store(kind, old, self._changed(kind, old, new, ""))

    def check_free(self, kind: Kind, wanted: Obj, old: Obj | None) -> None:
        """ApiError 422 where something that only one object can have is asked for and not free."""
        if kind.rules.taken is None or wanted is old:
            return
        own = Ref(kind.gk, namespace(wanted), name(wanted)).key

        def others() -> list[Obj]:
            return [obj for obj in self.tx.list(kind.gk.prefix) if Ref.of(obj).key != own]

        if causes := kind.rules.taken(wanted, old, others):
            raise invalid(admission.full_name(kind), name(wanted), causes)

    def _changed(self, kind: Kind, old: Obj, new: Obj, subresource: str) -> Obj:
        """What becomes of an object, validated; `old` itself where nothing changes."""
        _check_subresource(kind, subresource)
        if subresource == "scale":
            new = scaled(kind, old, new)
        else:
            _check_same(kind, old, new)
            new = kind.stored(new)
        admission.check_preconditions(kind, old, new)
        if subresource == "status":
            return admission.status_updated(kind, old, new)
        return admission.updated(kind, old, new)

    def store(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """Write a change that is validated, unless there is none; end an object that only waited for this."""
        if new is old:
            return old
        if deletion.gone(kind, new):
            return deletion.remove(self.tx, self.kinds, kind, new)
        return self.tx.put(Ref.of(old).key, new)

    # --- patch

    def patch(
        self, kind: Kind, ref: Ref, patch: Any, type: str = "merge", subresource: str = "", version: str = ""
    ) -> Obj:
        """`type` is merge (RFC 7386), json (RFC 6902) or strategic; it is applied to the object as `version` has it.
        Returns the whole object."""
        old = self.find(kind, ref)
        _check_subresource(kind, subresource)
        target = scale_of(old) if subresource == "scale" else kind.shown(old, version or kind.version)
        new = patched(kind, target, patch, type)
        if not isinstance(new, dict):
            raise bad_request("the patch leaves no object")
        return self._ask(kind, old, new, subresource)

    # --- delete

    def delete(self, kind: Kind, ref: Ref, options: DeleteOptions) -> Obj:
        """Also what cannot be read: that is how one gets rid of it."""
        return deletion.delete(self.tx, self.kinds, kind, self._found(kind, ref), options, self.now)


def patched(kind: Kind, target: Obj, patch: Any, type: str) -> Any:
    """What a patch makes of `target`. ApiError 400 for one that cannot be read or has no such type."""
    if type == "json":
        return patches.json_patch(target, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    if type == "merge":
        return patches.merge(target, patch)
    if type == "strategic":
        return patches.strategic(target, patch, kind.schema)
    raise bad_request(f'patch type "{type}" is not one of merge, json, strategic')


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
