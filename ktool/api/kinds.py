"""Kinds: a registry of the resource kinds that a program or server knows, with lookups by word, by group and kind, and
by URL.

The composition root (app.py) makes one, registry/, control/, serve/, client/ and manifests/ ask it. An instance, not a
process-wide table: a server's kinds change while it runs (custom resources), and a command learns those of the server
it talks to. Iteration sees one snapshot: every change makes a new index and swaps it in.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType

from ktool.api.kind import Kind, version_priority
from ktool.api.ref import GroupKind


@dataclass(frozen=True)
class _Index:
    """An immutable snapshot. A word that two kinds claim belongs to the one added first."""

    by_gk: Mapping[GroupKind, Kind] = field(default_factory=dict)
    by_word: Mapping[str, tuple[Kind, str]] = field(default_factory=dict)
    """With the version that the word names, or ""."""
    by_url: Mapping[tuple[str, str], tuple[Kind, str]] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        from hashlib import sha256

        told = [
            [*kind.gk, kind.plural, kind.short, kind.categories, kind.namespaced, kind.subresources]
            + [version.name for version in kind.versions]
            for kind in self.by_gk.values()
        ]
        return sha256(json.dumps(told).encode()).hexdigest()[:16]


class Kinds:
    """Lookups by word, by group, version and kind, and by URL, from any thread. Only one thread at a time may change
    it; listeners are called after each change."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._index = _index(kinds)

    def add(self, kind: Kind) -> None:
        """Add a kind. ValueError where another kind has the same group and name."""
        present = self._index.by_gk.get(kind.gk)
        if present is kind:
            return
        if present is not None:
            raise ValueError(f"two kinds are named {kind.gk}")
        self._index = _index([*self._index.by_gk.values(), kind])
        self._tell()

    def remove(self, gk: GroupKind) -> None:
        self._index = _index(kind for kind in self._index.by_gk.values() if kind.gk != gk)
        self._tell()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, in the thread that makes it. Returns a function that ends the
        subscription."""
        self._listeners = [*self._listeners, listener]

        def end() -> None:
            self._listeners = [one for one in self._listeners if one is not listener]

        return end

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    # --- lookups

    def __getitem__(self, gk: GroupKind) -> Kind:
        """KeyError where there is none."""
        return self._index.by_gk[gk]

    def get(self, gk: GroupKind) -> Kind | None:
        return self._index.by_gk.get(gk)

    def __contains__(self, gk: object) -> bool:
        return gk in self._index.by_gk

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._index.by_gk.values())

    def find(self, word: str) -> Kind | None:
        """The kind for any spelling a user may type: `deploy`, `deployments`, `Deployment`, `deployments.apps`,
        `deployments.v1.apps`. A word shared by two groups resolves to the one added first."""
        found = self._index.by_word.get(word.lower())
        return found[0] if found is not None else None

    def version_named(self, word: str) -> str:
        """The version in a word such as `deployments.v1.apps`; "" where it names none."""
        found = self._index.by_word.get(word.lower())
        return found[1] if found is not None else ""

    def named(self, name: str) -> list[Kind]:
        """The kinds with exactly this name, in any group."""
        return [kind for kind in self if kind.name == name]

    def at(self, root: str, plural: str) -> tuple[Kind, str] | None:
        """The kind and version for the parts of a URL, such as `/apis/apps/v1` and `deployments`."""
        return self._index.by_url.get((root, plural))

    def in_category(self, word: str) -> list[Kind]:
        """The kinds of a category, for `get all`."""
        return [kind for kind in self if word in kind.categories]

    @property
    def fingerprint(self) -> str:
        """Changes whenever discovery would tell something else: what a client's copy of it is known by."""
        return self._index.fingerprint

    def words(self) -> list[str]:
        return sorted(self._index.by_word)

    def versions(self, group: str) -> list[str]:
        """The served versions of a group, the preferred one first."""
        found = {version.name for kind in self if kind.group == group for version in kind.versions}
        return sorted(found, key=version_priority)


def _index(kinds: Iterable[Kind]) -> _Index:
    by_gk: dict[GroupKind, Kind] = {}
    by_word: dict[str, tuple[Kind, str]] = {}
    by_url: dict[tuple[str, str], tuple[Kind, str]] = {}
    for kind in kinds:
        by_gk[kind.gk] = kind
        words = (kind.name.lower(), kind.plural, *kind.short)
        full = [f"{word}.{kind.group}" for word in words] if kind.group else []
        for word in (*words, *full):
            by_word.setdefault(word, (kind, ""))
        for version in kind.versions:
            for word in words if kind.group else ():
                by_word.setdefault(f"{word}.{version.name}.{kind.group}", (kind, version.name))
            by_url[kind.root(version.name), kind.plural] = (kind, version.name)
    return _Index(by_gk, by_word, by_url)


def discover(package: ModuleType) -> Kinds:
    """Import every module of a package and take the KIND (or each of KINDS) it defines."""
    found: list[Kind] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        found += (*getattr(module, "KINDS", ()), *([module.KIND] if hasattr(module, "KIND") else ()))
    return Kinds(found)
