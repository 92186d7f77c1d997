"""kubectl's apply, for many objects in one transaction: all or nothing.

The manifest that was applied last is kept in an annotation, as kubectl keeps it, so that a field which is taken out
of the manifest is taken out of the object, and fields that others set stay.

Source: kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config, "How apply calculates differences".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ktool.api import patch, schema
from ktool.api.errors import ApiError, Cause, bad_request, invalid
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.marks import LAST_APPLIED
from ktool.api.obj import Obj, annotations_of, deleting, put
from ktool.api.ref import NAMESPACE, GroupKind, Ref
from ktool.registry import shaping
from ktool.registry.registry import Registry
from ktool.registry.verbs import Verbs

Outcome = tuple[Ref, str, Obj, tuple[str, ...]]
"""What happened to one object: its name, one of created, configured and unchanged, the object as it is now (in the
version of its manifest), and warnings that name the fields nothing acts on."""

_NOT_ACTED_ON = "Kubernetes knows this field, but ktool does not act on it"


def apply(registry: Registry, objects: Sequence[Obj], *, dry_run: bool = False, strict: bool = False) -> list[Outcome]:
    """Create or merge all of them; with `dry_run` everything is judged and nothing is written; with `strict` a warning
    is an error. The outcomes are in the order of the work: by the kind's apply_order, then as they were given.

    Raises ApiError with the causes of every object that is refused; Cause.field begins with `[index].`, the place in
    `objects`."""
    outcomes: list[Outcome] = []
    refused: dict[int, ApiError] = {}
    with registry.verbs(dry_run) as verbs:
        for index in sorted(range(len(objects)), key=lambda i: (_order(registry.kinds, objects[i]), i)):
            try:
                outcomes.append(_one(verbs, shaping.plain(objects[index]), strict))
            except ApiError as error:
                refused[index] = error
        refused = _without_followers(objects, refused)
        if refused:
            raise _together(refused)
    return outcomes


def _order(kinds: Kinds, obj: Any) -> int:
    kind = kinds.get(GroupKind.of(obj)) if isinstance(obj, dict) else None
    return kind.apply_order if kind is not None else 0


def _one(verbs: Verbs, manifest: Obj, strict: bool) -> Outcome:
    kind = shaping.kind_of(verbs.kinds, manifest)
    version = kind.version_of(manifest)
    manifest = _checked(kind, kind.stored(manifest))
    if kind.rules.absorb is not None:
        manifest = kind.rules.absorb(manifest)
    ref = Ref.of(manifest)
    live = verbs.tx.get(ref.key)
    modified = put(manifest, "metadata", "annotations", LAST_APPLIED, _last_applied_text(kind, manifest))
    if live is None:
        outcome, result = "created", verbs.create(modified)
    else:
        result = verbs.change(
            kind,
            verbs.asked("patch", ref),
            lambda old: patch.three_way(_last_applied(old), modified, old, kind.schema),
        )
        outcome = "unchanged" if result is live else "configured"
    paths = schema.not_acted_on(kind.schema, manifest)
    advice = list(kind.rules.warn(result)) if kind.rules.warn is not None else []
    if strict and (paths or advice):
        causes = [Cause(path, _NOT_ACTED_ON, "FieldValueNotSupported") for path in paths]
        raise invalid(str(kind.gk), ref.name, causes + [Cause("", text) for text in advice])
    warnings = [f"{path}: {_NOT_ACTED_ON}" for path in paths] + advice
    if outcome == "configured" and deleting(result):
        warnings.append(f"{ref} has been changed, but it is being deleted")
    return ref, outcome, kind.shown(result, version), tuple(warnings)


def _checked(kind: Kind, manifest: Obj) -> Obj:
    """The manifest with its namespace, and with metadata that the rest of this module can rely on."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        if isinstance(metadata, dict) and metadata.get("generateName"):
            raise bad_request("apply needs metadata.name; an object with generateName can only be created")
        cause = Cause("metadata.name", "is required", "FieldValueRequired")
        raise invalid(str(kind.gk), "", [cause])
    wrong = schema.check(kind.schema.fields["metadata"], metadata, "metadata")
    if wrong:
        raise invalid(str(kind.gk), metadata["name"], wrong)
    if kind.namespaced and not metadata.get("namespace"):
        manifest = put(manifest, "metadata", "namespace", "default")
    return {key: value for key, value in manifest.items() if key != "status" or "status" not in kind.subresources}


def _last_applied_text(kind: Kind, manifest: Obj) -> str:
    """The text kubectl keeps: the manifest without this annotation, keys sorted, with a newline at its end. Of a kind
    that is confidential the values are left out: the merge needs only to know what there was."""
    if kind.rules.redact is not None:
        manifest = kind.rules.redact(manifest)
    kept = {key: value for key, value in annotations_of(manifest).items() if key != LAST_APPLIED}
    return json.dumps(put(manifest, "metadata", "annotations", kept), sort_keys=True, separators=(",", ":")) + "\n"


def _last_applied(live: Obj) -> Obj:
    """The manifest that was applied last; empty where the object was made in another way."""
    try:
        found = json.loads(annotations_of(live).get(LAST_APPLIED, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- refusals ----------------------------------------------------------------------------------------------------


def _without_followers(objects: Sequence[Obj], refused: dict[int, ApiError]) -> dict[int, ApiError]:
    """Leave out what was only refused because its Namespace, of the same apply, was."""
    namespaces = {Ref.of(objects[i]).name for i in refused if _is_namespace(objects[i])}
    return {
        index: error
        for index, error in refused.items()
        if not (error.reason == "NotFound" and error.kind == "namespaces" and error.name in namespaces)
    }


def _is_namespace(obj: Any) -> bool:
    return isinstance(obj, dict) and GroupKind.of(obj) == NAMESPACE


def _together(refused: dict[int, ApiError]) -> ApiError:
    """One error for all of them; it keeps code and reason where there is only one, or all have the same."""
    causes, lines = [], []
    for index, error in sorted(refused.items()):
        lines.append(error.message)
        own = error.causes or (Cause("", error.message, error.reason),)
        causes += [Cause(f"[{index}].{cause.field}", cause.message, cause.reason) for cause in own]
    errors = list(refused.values())
    same = len({(error.code, error.reason) for error in errors}) == 1
    code, reason = (errors[0].code, errors[0].reason) if same else (422, "Invalid")
    first = errors[0]
    alone = len(errors) == 1
    return ApiError(
        code,
        reason,
        "\n".join(lines),
        kind=first.kind if alone else "",
        name=first.name if alone else "",
        causes=causes,
        retry_after=first.retry_after if alone else None,
    )
