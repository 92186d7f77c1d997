"""Config hash: a hash of the ConfigMaps and Secrets that a workload's pods read, kept in its pod template.

An annotated workload rolls its pods when the hash changes; Kubernetes leaves them alone until they are restarted. The
Deployment controller, follow/configrollouts and the rehearsal of `apply` call it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Action, Patch
from ktool.api.marks import CONFIG_HASH, FAILED_CONFIG_HASH, RESTART_ON_CONFIG_CHANGE
from ktool.api.obj import Obj, annotations_of, content_hash, get, meta, name, namespace, uid
from ktool.api.ref import GroupKind, Ref, group_kind
from ktool.api.world import World
from ktool.logic.secrets.podrefs import uses


def content(workload: Obj, world: World) -> str:
    """The hash of everything the pods of a workload read; "" where they read nothing, or where a required object is
    missing: then a restart would not help."""
    parts: list[object] = []
    for use in sorted(uses(get(workload, "spec", "template", "spec", default={}))):
        obj = world.get(Ref(group_kind("v1", use.kind), namespace(workload), use.name))
        if obj is None:
            if not use.optional:
                return ""
            parts.append([use.kind, use.name])
            continue
        entries = {**(obj.get("data") or {}), **(obj.get("binaryData") or {})}
        read = {key: text for key, text in entries.items() if not use.keys or key in use.keys}
        # The uid keeps those who may not read the Secret from guessing its value by the hash.
        parts.append([use.kind, use.name, uid(obj) if use.kind == "Secret" else "", read])
    return content_hash(parts, 10) if parts else ""


def follow(workload: Obj, world: World) -> list[Action]:
    """The action that puts the present hash into the pod template; none where it is there, or the workload is not
    annotated."""
    if annotations_of(workload).get(RESTART_ON_CONFIG_CHANGE) != "true":
        return []
    template = get(workload, "spec", "template", default={})
    wanted = content(workload, world)
    if not wanted or wanted in (
        annotations_of(template).get(CONFIG_HASH),
        annotations_of(workload).get(FAILED_CONFIG_HASH),
    ):
        return []
    patch: Obj = {"spec": {"template": {"metadata": {"annotations": {CONFIG_HASH: wanted}}}}}
    if FAILED_CONFIG_HASH in annotations_of(workload):
        patch["metadata"] = {"annotations": {FAILED_CONFIG_HASH: None}}
    return [Patch(Ref.of(workload), patch, uid(workload))]


def readers(gk: GroupKind, config: Obj, world: World) -> Iterable[Ref]:
    """The workloads of a kind that follow a ConfigMap or Secret."""
    for workload in world.list(gk, namespace(config)):
        if annotations_of(workload).get(RESTART_ON_CONFIG_CHANGE) != "true":
            continue
        spec = get(workload, "spec", "template", "spec", default={})
        if any((use.kind, use.name) == (config["kind"], name(config)) for use in uses(spec)):
            yield Ref.of(workload)


def failed_with(template: Obj) -> dict[str, str]:
    """The annotation for a workload that is rolled back from this template: the hash that failed."""
    found = (meta(template).get("annotations") or {}).get(CONFIG_HASH)
    return {FAILED_CONFIG_HASH: found} if found else {}
