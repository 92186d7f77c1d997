"""Kind: the descriptor of one resource kind, in five parts. Each file in `ktool/kinds` ends in a `KIND`.

    names        what it is called                          routes, discovery, command-line words
    versions     its shape in each API version              checks, defaults, explain, conversion
    rules        what the API server does with an object    registry/
    looks        columns of `get`, rows of `describe`       present/
    controller   watches, plan, progress                    control/, follow/
    workload     for kinds that run pods                    rollout, logs, describe

No module imports a kind by name: `api/kinds.discover` finds them, and every layer asks the Kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ktool.api.obj import Obj, controller_of, namespace
from ktool.api.ref import GroupKind, Ref

if TYPE_CHECKING:  # every command loads this module; only planners need those
    from ktool.api.action import Plan
    from ktool.api.describe import Description
    from ktool.api.errors import Cause
    from ktool.api.schema import Field
    from ktool.api.selector import Selector
    from ktool.api.workload import Workload
    from ktool.api.world import World


class Names(NamedTuple):
    """The names of a kind. `plural` appears in URLs; `short` are kubectl's abbreviations."""

    group: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True


_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")

_STAGES = {None: 0, "beta": 1, "alpha": 2}


def version_priority(version: str) -> tuple[int, int, int, int, str]:
    """A sort key that puts the preferred version first: GA before beta before alpha, newer numbers first, then all
    other words by the alphabet (kubernetes.io, CustomResourceDefinition versioning, "Version priority")."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (1, 0, 0, 0, version)
    major, stage, minor = found.groups()
    return (0, _STAGES[stage], -int(major), -int(minor or 0), "")


class Version(NamedTuple):
    """The schema of a kind in one API version. `to_storage` converts an object of this version to the stored one (that
    of the kind's first version), `from_storage` converts back; without them only apiVersion differs."""

    name: str
    schema: Field
    to_storage: Callable[[Obj], Obj] | None = None
    from_storage: Callable[[Obj], Obj] | None = None


class Rules(NamedTuple):
    """The kind's part in admission: defaults and checks beyond the schema, applied by registry/admission after it.

    `default` fills in what a schema cannot express. `identify` does so for a new object whose uid and creation time are
    known by then (a Job's selector). `absorb` brings a manifest into its stored form (a Secret's stringData into its
    data) before `apply` compares it; `redact` hides confidential values wherever a manifest is remembered or a
    difference is shown. `taken(obj, old, others)` rejects values that must be unique within the kind (clusterIP,
    nodePort, podCIDR), only for client requests; `others()` reads the whole kind: call it late. `graceful` gives the
    grace period in seconds of an object that ends slowly (Pods), None where deletion is immediate.
    """

    default: Callable[[Obj], Obj] | None = None
    identify: Callable[[Obj], Obj] | None = None
    absorb: Callable[[Obj], Obj] | None = None
    validate: Callable[[Obj, Obj | None], list[Cause]] | None = None
    taken: Callable[[Obj, Obj | None, Callable[[], list[Obj]]], list[Cause]] | None = None
    warn: Callable[[Obj], list[str]] | None = None
    redact: Callable[[Obj], Obj] | None = None
    graceful: Callable[[Obj], int | None] | None = None


class Column(NamedTuple):
    """One printer column of `get`. `cell` gives the text for an object; a `wide` column is shown with `-o wide` only.
    `type` is that of a Kubernetes Table column: string, integer, number, boolean or date."""

    name: str
    cell: Callable[[Obj, float], str]
    wide: bool = False
    type: str = "string"


class Looks(NamedTuple):
    """The presentation of a kind to people. `columns` are printer columns of `get`. `describe(obj, world, now)` gives
    the description; kinds without one are shown field by field. `beside` are the other kinds it reads, in the object's
    namespace (in all, for cluster-scoped objects). `events`: the description ends with the object's Events."""

    columns: tuple[Column, ...] = ()
    describe: Callable[[Obj, World, float], Description] | None = None
    beside: tuple[GroupKind, ...] = ()
    events: bool = True


class Watch(NamedTuple):
    """An event mapping: which objects of the planned kind to enqueue when an object of `gk` changes."""

    gk: GroupKind
    wakes: Callable[[Obj, World], Iterable[Ref]]


@dataclass(frozen=True)
class Progress:
    """The progress of an object towards its spec, for `rollout status`, `apply --wait` and every other waiting command.

    `done`: it has reached its spec. `failed`: the reason why waiting will not help. `message`: one line for the user.
    `rolled_back`: the reason why an earlier revision is being rolled out instead.
    """

    done: bool
    message: str
    failed: str = ""
    rolled_back: str = ""


class Controller(NamedTuple):
    """The controller of a kind: `plan` reconciles one object, `watches` name the events that enqueue it, `progress`
    judges how far it is."""

    watches: tuple[Watch, ...] = ()
    plan: Callable[[Obj, World, float], Plan] | None = None
    progress: Callable[[Obj, World], Progress] | None = None


_NO_RULES, _NO_LOOKS, _NO_CONTROLLER = Rules(), Looks(), Controller()


@dataclass(frozen=True)
class Kind:
    """The descriptor of one resource kind. The first of `versions` is the storage version."""

    names: Names
    versions: tuple[Version, ...]
    rules: Rules = _NO_RULES
    looks: Looks = _NO_LOOKS
    controller: Controller = _NO_CONTROLLER
    workload: Workload | None = None
    selects: Callable[[Obj], Selector | None] | None = None
    """The selector of an object's pods, for a kind that finds them by label: `logs` and `exec` take one of these.
    Without it they take one of the pods that the object owns, at any depth."""
    subresources: tuple[str, ...] = ()
    apply_order: int = 50
    """The kind's position when a folder is applied: lower first (Namespace 0, configuration 20, workloads 50)."""

    # --- names

    @cached_property
    def gk(self) -> GroupKind:
        return GroupKind(self.names.group, self.names.kind)

    @property
    def group(self) -> str:
        return self.names.group

    @property
    def name(self) -> str:
        return self.names.kind

    @property
    def plural(self) -> str:
        return self.names.plural

    @property
    def short(self) -> tuple[str, ...]:
        return self.names.short

    @property
    def categories(self) -> tuple[str, ...]:
        return self.names.categories

    @property
    def namespaced(self) -> bool:
        return self.names.namespaced

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def resource(self) -> str:
        """The resource as error messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def display(self, name: str) -> str:
        """An object as command output names it: `deployment.apps/web`, `pod/web`."""
        return self.gk.display(name)

    # --- versions

    @property
    def version(self) -> str:
        """The name of the storage version: `v1`."""
        return self.versions[0].name

    @property
    def preferred(self) -> str:
        """The version that clients are shown where they name none."""
        return min((version.name for version in self.versions), key=version_priority)

    @property
    def schema(self) -> Field:
        """The schema of the storage version."""
        return self.versions[0].schema

    @cached_property
    def api_version(self) -> str:
        """The storage version's apiVersion as manifests write it: `v1`, `apps/v1`."""
        return self.in_version(self.version)

    def in_version(self, version: str) -> str:
        """The apiVersion of one of the kind's versions as manifests write it: `v1` -> `apps/v1`."""
        return f"{self.group}/{version}" if self.group else version

    def serves(self, api_version: str) -> bool:
        """Whether `apps/v1` is one of the kind's served versions."""
        return any(self.in_version(version.name) == api_version for version in self.versions)

    def version_of(self, obj: Obj) -> str:
        """The name of the version that an object says it is in; the stored one where it serves no such version."""
        said = str(obj.get("apiVersion"))
        return said.rpartition("/")[2] if self.serves(said) else self.version

    def stored(self, obj: Obj) -> Obj:
        """An object of any served version, converted to the storage version; `obj` itself where no conversion is
        needed."""
        return self._converted(obj, str(obj.get("apiVersion")), lambda version: version.to_storage, self.api_version)

    def shown(self, obj: Obj, version: str) -> Obj:
        """A stored object, converted to a served version; `obj` itself for the storage version."""
        wanted = self.in_version(version)
        return self._converted(obj, wanted, lambda found: found.from_storage, wanted)

    def _converted(
        self, obj: Obj, through: str, step: Callable[[Version], Callable[[Obj], Obj] | None], result: str
    ) -> Obj:
        if through == self.api_version:
            return obj
        version = next(version for version in self.versions if self.in_version(version.name) == through)
        convert = step(version)
        return {**(convert(obj) if convert is not None else obj), "apiVersion": result}

    # --- URLs

    def root(self, version: str = "") -> str:
        """The URL prefix of a version, the storage version by default: `/api/v1`, `/apis/apps/v1`."""
        version = version or self.version
        return f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "", version: str = "") -> str:
        """The URL path of a collection or an object, as the Kubernetes API concepts page gives it."""
        parts = [self.root(version)]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


def owned(gk: GroupKind, by: GroupKind) -> Watch:
    """A Watch for owned objects: an event on an object of `gk` enqueues the `by` that controls it (a Pod enqueues its
    ReplicaSet)."""

    def wakes(obj: Obj, world: World) -> Iterable[Ref]:
        owner = controller_of(obj)
        return [Ref(by, namespace(obj), owner["name"])] if owner and GroupKind.of(owner) == by else ()

    return Watch(gk, wakes)
