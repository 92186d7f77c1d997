"""Authorization: whether an Actor may do what its Attributes ask for. Every verb of the registry begins here.

A request is allowed where any policy allows it, as in Kubernetes' union of authorizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ktool.api.errors import ApiError
from ktool.api.kinds import Kinds
from ktool.registry.request import MASTERS, Actor, Attributes

Policy = Callable[[Attributes, Actor], bool]


def masters(attributes: Attributes, actor: Actor) -> bool:
    """Members of system:masters may do everything: the owner of the local socket, and the control plane itself."""
    return MASTERS in actor.groups


def check(policies: Sequence[Policy], kinds: Kinds, attributes: Attributes, actor: Actor) -> None:
    """ApiError 403 where no policy allows it."""
    for policy in policies:
        if policy(attributes, actor):
            return
    raise _refusal(kinds, attributes, actor)


def _refusal(kinds: Kinds, asked: Attributes, actor: Actor) -> ApiError:
    """In the words of Kubernetes' API server."""
    kind = kinds.get(asked.gk)
    plural = kind.plural if kind is not None else asked.gk.kind.lower()
    resource = f"{plural}/{asked.subresource}" if asked.subresource else plural
    full = f"{plural}.{asked.gk.group}" if asked.gk.group else plural
    where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
    message = (
        f'{full} {_quoted(asked.name)}is forbidden: User "{actor.user}" cannot {asked.verb} resource "{resource}" '
        f'in API group "{asked.gk.group}"{where}'
    )
    return ApiError(403, "Forbidden", message, kind=full, name=asked.name)


def _quoted(name: str) -> str:
    return f'"{name}" ' if name else ""
