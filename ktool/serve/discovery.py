"""Discovery documents: the groups, versions and resources that clients read before they ask for anything else.

Shapes: meta/v1 APIVersions, APIGroupList, APIGroup, APIResourceList and version.Info. All of it follows from the kinds.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

from ktool import __version__
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

_SUBRESOURCES: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "scale": ("Scale", ["get", "patch", "update"], {"group": "autoscaling", "version": "v1"}),
    "binding": ("Binding", ["create"], {}),
    "exec": ("PodExecOptions", ["create", "get"], {}),
    "log": ("Pod", ["get"], {}),
}
"""Of each subresource that is not the object itself: the kind of its document, its verbs and its own group."""


def version(where: str, cluster: str, kinds: Kinds) -> dict[str, str]:
    """version.Info, where this server runs, the id of its cluster, and the fingerprint of the documents below: a
    client that kept them need not read them again while it is the same."""
    major, minor = __version__.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{__version__}",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
        "where": where,
        "cluster": cluster,
        "kinds": kinds.fingerprint,
    }


def document(path: str, kinds: Kinds) -> Obj | None:
    """The discovery document at a path; None where the path is none of discovery's."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api"]:
            return {"kind": "APIVersions", "versions": kinds.versions(""), "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = dict.fromkeys(kind.group for kind in kinds if kind.group)  # a word is the first one's that has it
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(kinds, name) for name in groups]}
        case ["apis", group] if kinds.versions(group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, group)}
        case ["api", _] | ["apis", _, _]:
            group = parts[1] if len(parts) == 3 else ""
            found = [kind for kind in kinds if kind.group == group and any(v.name == parts[-1] for v in kind.versions)]
            return _resources(found, parts[-1]) if found else None
    return None


def _group(kinds: Kinds, group: str) -> Obj:
    versions = [{"groupVersion": f"{group}/{one}", "version": one} for one in kinds.versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(kinds: Iterable[Kind], version: str) -> Obj:
    kinds = sorted(kinds, key=lambda kind: kind.plural)
    resources = [entry for kind in kinds for entry in (_resource(kind), *_subresources(kind))]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].in_version(version),
        "resources": resources,
    }


def _resource(kind: Kind) -> Obj:
    entry: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": VERBS,
    }
    if kind.short:
        entry["shortNames"] = list(kind.short)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _subresources(kind: Kind) -> Iterable[Obj]:
    for name in kind.subresources:
        shown, verbs, group = _SUBRESOURCES.get(name, ("", ["get", "patch", "update"], {}))
        yield {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": shown or kind.name,
            "verbs": verbs,
            **group,
        }
