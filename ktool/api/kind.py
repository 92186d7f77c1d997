"""A Kind says everything about one resource: its names, its shape, its columns and what its controller would do.

REST routes, discovery, OpenAPI, `explain`, command-line names, columns, storage keys, watch wiring and the
controller loop all follow from it. A kind is one file in `ktool/kinds` that ends in a `KIND`; `discover` finds them,
and nothing imports a kind by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType

from ktool.api.action import Plan
from ktool.api.errors import Cause
from ktool.api.obj import Obj, controller_of, namespace
from ktool.api.ref import Ref
from ktool.api.schema import Field
from ktool.api.world import World


@dataclass(frozen=True)
class Column:
    """One column of `get`. `cell` gives its text for an object; a `wide` column is shown with `-o wide` only.
    `type` is the one of a Kubernetes Table column: string, integer, number, boolean or date."""

    name: str
    cell: Callable[[Obj, float], str]
    wide: bool = False
    type: str = "string"


@dataclass(frozen=True)
class Watch:
    """Which objects of the planned kind to look at again when an object of `kind` changes."""

    kind: str
    wakes: Callable[[Obj, World], Iterable[Ref]]


@dataclass(frozen=True)
class Progress:
    """How far an object is from what was asked: for `rollout status`, `apply --wait` and every waiting command.

    `done`: it is as desired. `failed`: a reason that waiting will not mend. `message`: one line for the user.
    `rolled_back`: why an earlier state is what is done now."""

    done: bool
    message: str
    failed: str = ""
    rolled_back: str = ""


@dataclass(frozen=True)
class Kind:
    """One resource kind. `default` and `validate` see a whole object after the schema has had its turn; `plan` is
    the controller. `graceful` gives the seconds an object needs to end (Pods), None where deletion is immediate.

    `absorb` brings a manifest into the form that is kept (a Secret's stringData into its data) before `apply` compares
    it; `redact` hides the values of a confidential kind wherever a manifest is remembered or a difference is shown.
    `taken` says what of an object (new, and its predecessor) others of the kind have already: it judges what clients
    ask for, and `others` lists them, which costs."""

    group: str
    version: str
    name: str
    plural: str
    schema: Field
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    default: Callable[[Obj], Obj] | None = None
    absorb: Callable[[Obj], Obj] | None = None
    redact: Callable[[Obj], Obj] | None = None
    validate: Callable[[Obj, Obj | None], list[Cause]] | None = None
    taken: Callable[[Obj, Obj | None, Callable[[], list[Obj]]], list[Cause]] | None = None
    warn: Callable[[Obj], list[str]] | None = None
    columns: tuple[Column, ...] = ()
    watches: tuple[Watch, ...] = ()
    plan: Callable[[Obj, World, float], Plan] | None = None
    progress: Callable[[Obj, World], Progress] | None = None
    graceful: Callable[[Obj], int | None] | None = None
    apply_order: int = 50
    """Where the kind stands when a folder is applied: lower first (Namespace 0, configuration 20, workloads 50)."""

    @property
    def api_version(self) -> str:
        """As manifests write it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def resource(self) -> str:
        """As messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """The first part of its URLs: `/api/v1`, `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of a collection or an object, as the Kubernetes API concepts page gives it."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)

    def display(self, name: str) -> str:
        """As command output names an object: `deployment.apps/web`, `pod/web`."""
        return f"{self.singular}.{self.group}/{name}" if self.group else f"{self.singular}/{name}"


def owned(kind: str, by: str) -> Watch:
    """Wake the `by` that controls a changed object of `kind`: a ReplicaSet for its Pod."""

    def wakes(obj: Obj, world: World) -> Iterable[Ref]:
        owner = controller_of(obj)
        return [Ref(by, namespace(obj), owner["name"])] if owner and owner.get("kind") == by else ()

    return Watch(kind, wakes)


# --- the registry of kinds ---------------------------------------------------------------------------------------


@dataclass
class Kinds:
    """All kinds of this program, found by any of the names users give them."""

    _by_name: dict[str, Kind] = field(default_factory=dict)
    _by_word: dict[str, Kind] = field(default_factory=dict)

    def add(self, kind: Kind) -> None:
        if kind.name in self._by_name and self._by_name[kind.name] is not kind:
            raise ValueError(f"two kinds are named {kind.name}")
        self._by_name[kind.name] = kind
        for word in (kind.name.lower(), kind.plural, *kind.short):
            self._by_word.setdefault(word, kind)
            if kind.group:
                self._by_word[f"{word}.{kind.group}"] = kind
                self._by_word[f"{word}.{kind.version}.{kind.group}"] = kind

    def remove(self, kind: Kind) -> None:
        self._by_name.pop(kind.name, None)
        self._by_word = {word: found for word, found in self._by_word.items() if found is not kind}

    def __getitem__(self, name: str) -> Kind:
        """By the exact kind name, as in a manifest; KeyError where there is none."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_name.values())

    def find(self, word: str) -> Kind | None:
        """By any spelling a user types: `deploy`, `deployments`, `Deployment`, `deployments.apps`."""
        return self._by_word.get(word.lower())

    def at(self, root: str, plural: str) -> Kind | None:
        """By the parts of a URL: `/apis/apps/v1` and `deployments`."""
        return next((kind for kind in self if kind.plural == plural and kind.root == root), None)

    def in_category(self, word: str) -> list[Kind]:
        """The kinds of a category, for `get all`."""
        return [kind for kind in self if word in kind.categories]

    def words(self) -> list[str]:
        return sorted(self._by_word)


REGISTRY = Kinds()


def discover(package: ModuleType) -> Kinds:
    """Import every module of a package and register the KIND (or each of KINDS) it defines."""
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for kind in (*getattr(module, "KINDS", ()), *([module.KIND] if hasattr(module, "KIND") else ())):
            REGISTRY.add(kind)
    return REGISTRY
