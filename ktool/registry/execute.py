"""Carrying out what planners ask for: many actions in one transaction, each refusal a value at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ktool.api.action import Action, Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.errors import ApiError, conflict, invalid, is_already_exists, is_conflict, is_not_found
from ktool.api.kind import Kind
from ktool.api.obj import Obj, deleting, meta, name, namespace, uid, with_condition
from ktool.api.pod import node_of
from ktool.api.ref import NAMESPACE, GroupKind, Ref
from ktool.registry import admission, events
from ktool.registry.deletion import DeleteOptions
from ktool.registry.verbs import Verbs, patched


class SpecMemo:
    """Validated specs by identity. A controller creates many objects around one and the same spec (a template's), and
    defaulting and validating the first of them has said everything about the others' specs."""

    LIMIT = 256

    def __init__(self) -> None:
        self._known: dict[tuple[GroupKind, int], tuple[Obj, Obj]] = {}

    def validated(self, kind: Kind, obj: Obj) -> Obj:
        """As admission.validated. The memo holds on to the spec itself, so its identity cannot be another's."""
        spec = obj.get("spec")
        if not isinstance(spec, dict):
            return admission.validated(kind, obj)
        known = self._known.get((kind.gk, id(spec)))
        if known is not None:
            causes = admission.meta_causes(kind, obj)
            if causes:
                raise invalid(admission.full_name(kind), admission.shown_name(obj), causes)
            return {**obj, **known[1]}
        result = admission.validated(kind, obj)
        given = {key: result[key] for key in result if key in ("spec", "status")}
        if {**obj, **given} == result:
            if len(self._known) >= self.LIMIT:
                self._known.clear()
            self._known[kind.gk, id(spec)] = (spec, given)
        return result


class Batch:
    """One call of execute. Later actions see what earlier ones did."""

    def __init__(self, verbs: Verbs, memo: SpecMemo, component: str) -> None:
        self._verbs, self._memo, self._component = verbs, memo, component
        self._tx, self._kinds, self._now = verbs.tx, verbs.kinds, verbs.now

    def run(self, actions: Sequence[Action]) -> list[ApiError | None]:
        """One outcome for each action: None, or why it was refused."""
        self._tx.prefetch(self._keys(actions))
        return [self._attempt(action) for action in actions]

    def _keys(self, actions: Iterable[Action]) -> Iterator[str]:
        for action in actions:
            if isinstance(action, (Create, Update)):
                ref = Ref.of(action.obj)
            elif isinstance(action, Emit):
                ref = self._event(action)
            else:
                ref = action.ref
            yield ref.key
            if ref.namespace and isinstance(action, (Create, Emit)):
                yield Ref(NAMESPACE, "", ref.namespace).key

    def _attempt(self, action: Action) -> ApiError | None:
        try:
            _HANDLERS[type(action)](self, action)
        except ApiError as error:
            return error
        return None

    def _same(self, ref: Ref, wanted: str) -> Obj | None:
        """The very object that an action is about, or None where it is gone or another one has its name."""
        found = self._tx.get(ref.key)
        return found if found is not None and wanted in ("", uid(found)) else None

    # --- one method for each action

    def _create(self, action: Create) -> None:
        kind = admission.kind_of(self._kinds, action.obj)
        try:
            obj = admission.prepared(kind, action.obj, self._verbs.suffix)
            self._verbs.insert(kind, self._memo.validated(kind, obj))
        except ApiError as error:
            if not is_already_exists(error):
                raise

    def _update(self, action: Update) -> None:
        kind = admission.kind_of(self._kinds, action.obj)
        ref = Ref(kind.gk, namespace(action.obj), name(action.obj))
        self._verbs.change(kind, self._verbs.find(kind, ref), action.obj)

    def _patch(self, action: Patch) -> None:
        old = self._same(action.ref, action.uid)
        if old is not None:
            kind = admission.named(self._kinds, action.ref.gk)
            self._verbs.change(kind, old, patched(kind, old, action.patch, "merge"))

    def _status(self, action: Status) -> None:
        old = self._same(action.ref, action.uid)
        if old is not None and old.get("status") != action.status:
            self._tx.put(action.ref.key, {**old, "status": action.status})

    def _delete(self, action: Delete) -> None:
        kind = admission.named(self._kinds, action.ref.gk)
        try:
            self._verbs.delete(kind, action.ref, DeleteOptions(grace=action.grace, uid=action.uid))
        except ApiError as error:
            if not is_not_found(error) and not (action.uid and is_conflict(error)):
                raise

    def _bind(self, action: Bind) -> None:
        pod = self._same(action.ref, action.uid)
        if pod is None or (bound := node_of(pod)) == action.node:
            return
        if bound:
            raise conflict("pods/binding", name(pod), f"pod {name(pod)} is already assigned to node {bound}")
        if deleting(pod):
            raise conflict("pods/binding", name(pod), f"pod {name(pod)} is being deleted, cannot be assigned to a host")
        status = pod.get("status") or {}
        conditions = with_condition(status.get("conditions") or (), "PodScheduled", "True", self._now)
        spec = {**(pod.get("spec") or {}), "nodeName": action.node}
        self._tx.put(action.ref.key, {**pod, "spec": spec, "status": {**status, "conditions": conditions}})

    def _emit(self, action: Emit) -> None:
        ref = self._event(action)
        if NAMESPACE in self._kinds:
            found = self._tx.get(Ref(NAMESPACE, "", ref.namespace).key)
            if found is None or meta(found).get("deletionTimestamp"):
                return
        kind = self._kinds.get(action.ref.gk)
        version = kind.api_version if kind is not None else ""
        event = events.recorded(
            self._tx.get(ref.key),
            ref,
            action,
            api_version=version,
            component=self._component,
            event_uid=self._verbs.new_uid(),
            now=self._now,
        )
        self._tx.put(ref.key, event)

    def _event(self, action: Emit) -> Ref:
        return events.event_ref(action.ref, action.reason, action.message, self._component, action.uid)


_HANDLERS: dict[type, Callable[[Batch, Any], None]] = {
    Create: Batch._create,
    Update: Batch._update,
    Patch: Batch._patch,
    Status: Batch._status,
    Delete: Batch._delete,
    Bind: Batch._bind,
    Emit: Batch._emit,
}
