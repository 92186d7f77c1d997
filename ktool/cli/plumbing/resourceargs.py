"""What users call things: `pods`, `po`, `deploy/web`, `pods,svc`, `all`; and the Refs those words mean."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.ref import GroupKind, Ref


@dataclass(frozen=True)
class Wanted:
    """Whole kinds, or single objects as (kind, name) in the order given. Only one of the two is filled."""

    kinds: tuple[Kind, ...] = ()
    objects: tuple[tuple[Kind, str], ...] = ()

    def refs(self, namespace: str) -> list[Ref]:
        return [ref_of(kind, namespace, name) for kind, name in self.objects]


def ref_of(kind: Kind, namespace: str, name: str) -> Ref:
    return Ref(kind.gk, namespace if kind.namespaced else "", name)


def kinds() -> Kinds:
    """All kinds, loaded on first use."""
    from ktool import app

    return app.kinds()


def kind_named(word: str) -> Kind:
    """The Kind a user means. UserError in kubectl's words, with a did-you-mean, where there is none."""
    kind = kinds().find(word)
    if kind is not None:
        return kind
    close = difflib.get_close_matches(word.lower(), kinds().words(), n=1, cutoff=0.6)
    hint = f'; did you mean "{close[0]}"?' if close else "; `ktool api-resources` lists them"
    raise UserError(f'the server doesn\'t have a resource type "{word}"{hint}')


def kinds_named(words: str) -> tuple[Kind, ...]:
    """`pods,deploy` or a category such as `all`, each kind once."""
    found: dict[GroupKind, Kind] = {}
    for word in filter(None, words.split(",")):
        group = kinds().in_category(word.lower()) or [kind_named(word)]
        found.update((kind.gk, kind) for kind in group)
    if not found:
        raise UsageError(f"{words!r} names no kind of object")
    return tuple(found.values())


def parse(args: Sequence[str] | None, verb: str) -> Wanted:
    """The arguments of get, describe, delete and scale.

    UsageError where there are none or both forms are mixed; UserError for an unknown kind and for an empty word."""
    args = list(args or ())
    if not args:
        raise UsageError(
            f"you must say what to {verb}: a kind (pods), a kind and names (pod web) or kind/name (pod/web); "
            "`ktool api-resources` lists the kinds"
        )
    if "" in args:
        raise UserError("resource name may not be empty")
    if any("/" in arg for arg in args):
        return Wanted(objects=tuple(_slashed(arg, args) for arg in args))
    if len(args) == 1:
        return Wanted(kinds=kinds_named(args[0]))
    found = kinds_named(args[0])
    return Wanted(objects=tuple((kind, name) for kind in found for name in args[1:]))


def _slashed(arg: str, args: Sequence[str]) -> tuple[Kind, str]:
    word, slash, name = arg.partition("/")
    if not slash:
        raise UsageError(
            "there is no need to specify a resource type as a separate argument when passing arguments in "
            f"resource/name form (e.g. 'ktool get pod/web' instead of 'ktool get {args[0]} pod/web')"
        )
    if not word or not name or "/" in name:
        raise UsageError(f"{arg!r} is not of the form kind/name with a single slash")
    return kind_named(word), name
