"""Revisions of a Deployment: the newest ReplicaSet, revision numbers, template hashes, and the history limit.

The Deployment controller, rollback and logic/workload/deploymentcommands call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktool.api.marks import CHANGE_CAUSE, REVISION, REVISION_HISTORY, TEMPLATE_HASH
from ktool.api.obj import Obj, annotations_of, canonical, content_hash, drop, get, joined_name, meta, name, put


def template_hash(template: Obj, collisions: int = 0) -> str:
    """The pod-template-hash: equal templates have equal hashes, so that a retried rollout finds its ReplicaSet
    again."""
    return content_hash([template, collisions] if collisions else template, 10)


def same_template(replica_set: Obj, template: Obj) -> bool:
    """Whether a ReplicaSet was made from this template, ignoring the hash label."""
    bare = drop(get(replica_set, "spec", "template", default={}), "metadata", "labels", TEMPLATE_HASH)
    return canonical(_without_empty_meta(bare)) == canonical(_without_empty_meta(template))


def _without_empty_meta(template: Obj) -> Obj:
    kept = {key: value for key, value in meta(template).items() if value}
    return {**template, "metadata": kept}


def find_new(deployment: Obj, replica_sets: Iterable[Obj]) -> Obj | None:
    """The ReplicaSet of the current template; the oldest of several, as in Kubernetes."""
    template = get(deployment, "spec", "template", default={})
    matching = [rs for rs in replica_sets if same_template(rs, template)]
    return min(matching, key=lambda rs: (meta(rs).get("creationTimestamp", ""), name(rs)), default=None)


def revision(obj: Obj) -> int:
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def with_one_more(replica_set: Obj) -> str:
    """The revision history annotation of a ReplicaSet with its present number added."""
    earlier = annotations_of(replica_set).get(REVISION_HISTORY, "")
    return ",".join([*filter(None, earlier.split(",")), str(revision(replica_set))])


def next_revision(replica_sets: Iterable[Obj]) -> int:
    return max((revision(rs) for rs in replica_sets), default=0) + 1


def new_name(deployment: Obj, digest: str) -> str:
    return joined_name(name(deployment), digest)


def with_hash(template: Obj, digest: str) -> Obj:
    """The template with the hash label, which keeps the pods of two revisions apart."""
    labels = {**(meta(template).get("labels") or {}), TEMPLATE_HASH: digest}
    return put(template, "metadata", "labels", labels)


def expired(old: Sequence[Obj], limit: int) -> list[Obj]:
    """Old ReplicaSets beyond revisionHistoryLimit, the lowest revision first; one with pods always stays."""
    empty = [rs for rs in old if not get(rs, "spec", "replicas", default=0) and not get(rs, "status", "replicas")]
    surplus = len(empty) - limit
    return sorted(empty, key=revision)[:surplus] if surplus > 0 else []


# --- history and the way back --------------------------------------------------------------------------------------


def history(replica_sets: Iterable[Obj]) -> list[Obj]:
    """The ReplicaSets that stand for a revision, the lowest first."""
    return sorted((rs for rs in replica_sets if revision(rs) > 0), key=revision)


def to_go_back_to(replica_sets: Iterable[Obj], number: int) -> Obj | None:
    """The ReplicaSet of a revision; for 0 that of the previous one. None where there is none."""
    known = history(replica_sets)
    if number:
        return next((rs for rs in known if revision(rs) == number), None)
    return known[-2] if len(known) > 1 else None


def template_of(replica_set: Obj) -> Obj:
    """The pod template as in the Deployment: without the hash label."""
    template: Obj = get(replica_set, "spec", "template", default={})
    return drop(template, "metadata", "labels", TEMPLATE_HASH)


def rolled_back(deployment: Obj, replica_set: Obj) -> Obj:
    """The Deployment with the template of an older revision, and with that revision's change cause."""
    notes = dict(annotations_of(deployment))
    notes.pop(CHANGE_CAUSE, None)
    if cause := annotations_of(replica_set).get(CHANGE_CAUSE):
        notes[CHANGE_CAUSE] = cause
    deployment = put(deployment, "spec", "template", template_of(replica_set))
    return put(deployment, "metadata", "annotations", notes) if notes else drop(deployment, "metadata", "annotations")
