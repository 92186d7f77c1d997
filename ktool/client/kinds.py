"""The kinds of a server, learned from its discovery documents, and the copy of those documents on disk.

    ServerKinds     the kinds of one command: the program's own and, once a word asks for one that is not among
                    them, those the server has besides
    learn           GET /version for the fingerprint; the copy of that fingerprint, or /api, /apis and /apis/G/V

`app.known_kinds` makes the first for every command. A kind that this program was not built with has an open schema: it
is sent unchecked, defaulted and merged by the server, and shown as NAME and AGE.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktool.api.kind import Column, Kind, Looks, Names, Version, version_priority
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, name
from ktool.api.ref import GroupKind
from ktool.api.schema import Field
from ktool.api.units.duration import age

if TYPE_CHECKING:
    from ktool.client.http import HttpClient

OPEN = Field(
    "any",
    "The server has the schema of this kind; this program was not built with it.",
    fields={"metadata": Field("any")},
)

LOOKS = Looks((Column("NAME", lambda obj, now: name(obj)), Column("AGE", lambda obj, now: age(obj, now))))

Documents = list[dict[str, Any]]
"""APIResourceList documents."""


class ServerKinds(Kinds):
    """Kinds that `learn` completes, once, when a lookup finds nothing or asks for a category. Iteration sees what is
    known so far: whoever lists all kinds calls `complete` before."""

    def __init__(self, own: Iterable[Kind], learn: Callable[[], Iterable[Kind]]) -> None:
        super().__init__(own)
        self._learn: Callable[[], Iterable[Kind]] | None = learn

    def complete(self) -> None:
        """Ask for the server's kinds, unless that was done before. Raises what `learn` raises."""
        learn, self._learn = self._learn, None
        for kind in learn() if learn is not None else ():
            if super().get(kind.gk) is None:
                self.add(kind)

    def __getitem__(self, gk: GroupKind) -> Kind:
        found = self.get(gk)
        if found is None:
            raise KeyError(gk)
        return found

    def get(self, gk: GroupKind) -> Kind | None:
        found = super().get(gk)
        if found is None and self._learn is not None:
            self.complete()
            found = super().get(gk)
        return found

    def __contains__(self, gk: object) -> bool:
        return isinstance(gk, tuple) and self.get(GroupKind(*gk)) is not None

    def find(self, word: str) -> Kind | None:
        found = super().find(word)
        if found is None and self._learn is not None:
            self.complete()
            found = super().find(word)
        return found

    def named(self, name: str) -> list[Kind]:
        found = super().named(name)
        if not found and self._learn is not None:
            self.complete()
            found = super().named(name)
        return found

    def in_category(self, word: str) -> list[Kind]:
        self.complete()
        return super().in_category(word)


# --- reading -----------------------------------------------------------------------------------------------------


def learn(client: HttpClient, copy: Path) -> list[Kind]:
    """The kinds of the server, from the copy of its documents if it is of the server's present fingerprint. Raises
    ClientError where no answer comes."""
    fingerprint = str(client.document("/version").get("kinds") or "")
    documents = _kept(copy, fingerprint) if fingerprint else None
    if documents is None:
        documents = _read(client)
        if fingerprint:
            _keep(copy, fingerprint, documents)
    return kinds_of(documents)


def _read(client: HttpClient) -> Documents:
    paths = [f"/api/{version}" for version in client.document("/api").get("versions", ())]
    for group in client.document("/apis").get("groups", ()):
        paths += [f"/apis/{one['groupVersion']}" for one in group.get("versions", ())]
    return [client.document(path) for path in paths if _PATH.fullmatch(path)]


def _kept(copy: Path, fingerprint: str) -> Documents | None:
    try:
        found = json.loads(copy.read_text())
        return list(found["documents"]) if found["kinds"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(copy: Path, fingerprint: str, documents: Documents) -> None:
    """Replaced in one step, so that no other command reads half of it; without it the next command asks again."""
    made = copy.with_name(f".{copy.name}.{os.getpid()}")
    try:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as stream:
            json.dump({"kinds": fingerprint, "documents": documents}, stream)
        os.replace(made, copy)
    except OSError:
        pass


# --- documents to kinds ------------------------------------------------------------------------------------------

_PATH = re.compile(r"/apis?(/[a-z0-9.-]+){1,2}")
_PLURAL = re.compile(r"[a-z0-9][a-z0-9.-]*")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def kinds_of(documents: Iterable[Mapping[str, Any]]) -> list[Kind]:
    """The kinds that APIResourceList documents name, each with its versions, the preferred one first."""
    found: dict[GroupKind, dict[str, Obj]] = {}
    subresources: dict[tuple[str, str], list[str]] = {}
    for document in documents:
        group, _, version = str(document.get("groupVersion", "")).rpartition("/")
        for resource in document.get("resources") or ():
            plural, _, subresource = str(resource.get("name", "")).partition("/")
            if subresource:
                subresources.setdefault((group, plural), []).append(subresource)
            elif _PLURAL.fullmatch(plural) and _KIND.fullmatch(str(resource.get("kind", ""))):
                found.setdefault(GroupKind(group, resource["kind"]), {})[version] = resource
    return [_kind(gk, versions, subresources) for gk, versions in found.items()]


def _kind(gk: GroupKind, resources: Mapping[str, Obj], subresources: Mapping[tuple[str, str], list[str]]) -> Kind:
    versions = sorted(resources, key=version_priority)
    told = resources[versions[0]]
    names = Names(
        gk.group,
        gk.kind,
        told["name"],
        short=_words(told.get("shortNames")),
        categories=_words(told.get("categories")),
        namespaced=bool(told.get("namespaced")),
    )
    return Kind(
        names,
        tuple(Version(version, OPEN) for version in versions),
        looks=LOOKS,
        subresources=tuple(dict.fromkeys(subresources.get((gk.group, told["name"]), ()))),
    )


def _words(told: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in told or () if _PLURAL.fullmatch(str(word)))
