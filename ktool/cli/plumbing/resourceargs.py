"""Resource arguments: `pods`, `po`, `deploy/web`, `pods,svc`, `all`, and the Refs those words mean.

Every verb about objects parses them here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.ref import GroupKind, Ref
from ktool.cli.plumbing import known

if TYPE_CHECKING:
    from ktool.client.kinds import ServerKinds


@dataclass(frozen=True)
class Wanted:
    """Whole kinds, or single objects as (kind, name) in the order given. Only one of the two is filled."""

    kinds: tuple[Kind, ...] = ()
    objects: tuple[tuple[Kind, str], ...] = ()
    versions: Mapping[GroupKind, str] = field(default_factory=dict)
    """The versions that were asked for, of those kinds that were named with one."""

    def refs(self, namespace: str) -> list[Ref]:
        return [ref_of(kind, namespace, name) for kind, name in self.objects]


def ref_of(kind: Kind, namespace: str, name: str) -> Ref:
    return Ref(kind.gk, namespace if kind.namespaced else "", name)


def kinds() -> ServerKinds:
    """The program's kinds, and those of its server as soon as something asks for one of them."""
    return known.kinds()


def kind_named(word: str) -> Kind:
    """The Kind a user means. UserError in kubectl's words, with a did-you-mean, where there is none."""
    kind = kinds().find(word)
    if kind is not None:
        return kind
    raise _no_such(word)


def _no_such(word: str) -> UserError:
    close = difflib.get_close_matches(word.lower(), kinds().words(), n=1, cutoff=0.6)
    hint = f'; did you mean "{close[0]}"?' if close else "; `ktool api-resources` lists them"
    return UserError(f'the server doesn\'t have a resource type "{word}"{hint}')


@dataclass
class _Named:
    """Kinds by the words of one argument, each once, and the versions in which they were asked for."""

    kinds: dict[GroupKind, Kind] = field(default_factory=dict)
    versions: dict[GroupKind, str] = field(default_factory=dict)

    def add(self, word: str) -> list[Kind]:
        """The kind of a word such as `deploy` or `deployments.v1.apps`, or those of a category such as `all`."""
        kind = kinds().find(word)
        found = [kind] if kind is not None else kinds().in_category(word.lower())
        if not found:
            raise _no_such(word)
        self.kinds.update((one.gk, one) for one in found)
        version = kinds().version_named(word)
        if version and self.versions.setdefault(found[0].gk, version) != version:
            raise UsageError(f"{found[0].resource} in two versions: ask for one after the other")
        return found


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
    named = _Named()
    if any("/" in arg for arg in args):
        objects = tuple(_slashed(arg, args, named) for arg in args)
        return Wanted(objects=objects, versions=named.versions)
    for word in filter(None, args[0].split(",")):
        named.add(word)
    if not named.kinds:
        raise UsageError(f"{args[0]!r} names no kind of object")
    if len(args) == 1:
        return Wanted(kinds=tuple(named.kinds.values()), versions=named.versions)
    objects = tuple((kind, name) for kind in named.kinds.values() for name in args[1:])
    return Wanted(objects=objects, versions=named.versions)


def _slashed(arg: str, args: Sequence[str], named: _Named) -> tuple[Kind, str]:
    word, slash, name = arg.partition("/")
    if not slash:
        raise UsageError(
            "there is no need to specify a resource type as a separate argument when passing arguments in "
            f"resource/name form (e.g. 'ktool get pod/web' instead of 'ktool get {args[0]} pod/web')"
        )
    if not word or not name or "/" in name:
        raise UsageError(f"{arg!r} is not of the form kind/name with a single slash")
    kind = kind_named(word)
    named.add(word)
    return kind, name
