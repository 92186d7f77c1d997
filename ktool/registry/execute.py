"""Execution of plans: many actions in one transaction, each refusal a value at its place.

Called by Registry.execute for controllers, the scheduler and node loops, and by the rehearsal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ktool.api.action import Action, Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.errors import ApiError, is_already_exists, is_conflict, is_not_found
from ktool.api.obj import Obj, name, namespace, uid
from ktool.api.ref import NAMESPACE, Ref
from ktool.registry import events, shaping
from ktool.registry.deletion import DeleteOptions
from ktool.registry.verbs import Verbs


class Batch:
    """One call of execute. Later actions see what earlier ones did."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs, self._tx, self._kinds = verbs, verbs.tx, verbs.kinds

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
        try:
            self._verbs.create(action.obj)
        except ApiError as error:
            if not is_already_exists(error):
                raise

    def _update(self, action: Update) -> None:
        kind = shaping.kind_of(self._kinds, action.obj)
        self._verbs.update(kind, Ref(kind.gk, namespace(action.obj), name(action.obj)), action.obj)

    def _patch(self, action: Patch) -> None:
        if self._same(action.ref, action.uid) is not None:
            self._verbs.patch(shaping.named(self._kinds, action.ref.gk), action.ref, action.patch)

    def _status(self, action: Status) -> None:
        old = self._same(action.ref, action.uid)
        if old is not None and old.get("status") != action.status:
            self._verbs.set_status(action.ref, old, action.status)

    def _delete(self, action: Delete) -> None:
        kind = shaping.named(self._kinds, action.ref.gk)
        try:
            self._verbs.delete(kind, action.ref, DeleteOptions(grace=action.grace, uid=action.uid))
        except ApiError as error:
            if not is_not_found(error) and not (action.uid and is_conflict(error)):
                raise

    def _bind(self, action: Bind) -> None:
        if self._same(action.ref, action.uid) is not None:
            self._verbs.bind(action.ref, action.node)

    def _emit(self, action: Emit) -> None:
        self._verbs.record(action, self._event(action))

    def _event(self, action: Emit) -> Ref:
        return events.event_ref(action.ref, action.reason, action.message, self._verbs.actor.manager, action.uid)


_HANDLERS: dict[type, Callable[[Batch, Any], None]] = {
    Create: Batch._create,
    Update: Batch._update,
    Patch: Batch._patch,
    Status: Batch._status,
    Delete: Batch._delete,
    Bind: Batch._bind,
    Emit: Batch._emit,
}
