"""Actions: the writes and Events that a planner asks for, as frozen values that can be compared, printed and kept in a
golden file.

Planners in kinds/ and logic/ return them in a Plan; registry/execute carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ktool.api.obj import Obj
from ktool.api.ref import Ref


@dataclass(frozen=True)
class Create:
    """Create `obj`. Nothing happens where it exists already: names derive from content, so that object is the same
    one."""

    obj: Obj


@dataclass(frozen=True)
class Update:
    """Replace metadata and spec with those of `obj`. A conflict unless its resourceVersion is still the current one."""

    obj: Obj


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch (RFC 7386) on metadata and spec. With `uid` it applies only to the object with that uid."""

    ref: Ref
    patch: Obj
    uid: str = ""


@dataclass(frozen=True)
class Status:
    """Replace the status of the object with this uid; spec, labels and generation stay."""

    ref: Ref
    status: Obj
    uid: str = ""


@dataclass(frozen=True)
class Delete:
    """Request deletion of the object with this uid. `grace` in seconds, None for the kind's default; 0 removes it at
    once."""

    ref: Ref
    uid: str = ""
    grace: int | None = None


@dataclass(frozen=True)
class Emit:
    """Record an Event about `ref`. Repeats with the same reason and message raise its count instead of adding a
    record."""

    ref: Ref
    reason: str
    message: str
    type: str = "Normal"
    uid: str = ""


@dataclass(frozen=True)
class Bind:
    """Bind a Pod to a node: spec.nodeName and the condition PodScheduled in one write (core/v1 Binding). Refused where
    the Pod is bound already."""

    ref: Ref
    node: str
    uid: str = ""


Action = Create | Update | Patch | Status | Delete | Emit | Bind


@dataclass(frozen=True)
class Plan:
    """The result of a reconcile of one object: actions to perform now, or `because`, the reason for having none.
    `after`: requeue in so many seconds, for decisions that time alone can change; every other change arrives as a watch
    event."""

    actions: tuple[Action, ...] = ()
    because: str = ""
    after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values: the form of golden files."""
        result: dict[str, Any] = {"actions": [_action_json(action) for action in self.actions]}
        if self.because:
            result["because"] = self.because
        if self.after is not None:
            result["after"] = self.after
        return result


def _action_json(action: Action) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for key, value in vars(action).items():
        if isinstance(value, Ref):
            body[key] = value.key
        elif value not in ("", None):
            body[key] = value
    return {type(action).__name__: body}
