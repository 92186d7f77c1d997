"""What a planner may ask for. Frozen values: a plan can be compared, printed and kept in a golden file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ktool.api.obj import Obj
from ktool.api.ref import Ref


@dataclass(frozen=True)
class Create:
    """Create `obj`; where it exists already, nothing happens (names derive from content, so it is the same one)."""

    obj: Obj


@dataclass(frozen=True)
class Update:
    """Replace metadata and spec with those of `obj`, if its resourceVersion is still the current one."""

    obj: Obj


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch (RFC 7386) on metadata and spec. With `uid`, only on that very object."""

    ref: Ref
    patch: Obj
    uid: str = ""


@dataclass(frozen=True)
class Status:
    """Replace the status of that very object; spec, labels and generation stay."""

    ref: Ref
    status: Obj
    uid: str = ""


@dataclass(frozen=True)
class Delete:
    """Ask for deletion of that very object. `grace` in seconds, None for the kind's own; 0 also ends it now."""

    ref: Ref
    uid: str = ""
    grace: int | None = None


@dataclass(frozen=True)
class Emit:
    """Record an Event about `ref`. Repeats of the same reason and message are counted, not stored again."""

    ref: Ref
    reason: str
    message: str
    type: str = "Normal"
    uid: str = ""


@dataclass(frozen=True)
class Bind:
    """Put a Pod on a node: spec.nodeName and the condition PodScheduled in one write (core/v1 Binding). Refused where
    the Pod is bound already."""

    ref: Ref
    node: str
    uid: str = ""


Action = Create | Update | Patch | Status | Delete | Emit | Bind


@dataclass(frozen=True)
class Plan:
    """What to do for one object now. An empty one says why in `because`. `after`: look again in so many seconds,
    for decisions that only time can change; every other change arrives as a watch event."""

    actions: tuple[Action, ...] = ()
    because: str = ""
    after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The form golden files keep."""
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
