"""SealedSecret (ktool.dev/v1alpha1): a Secret encrypted to the cluster's public key, so that its manifest can live in
git. Its plan opens it and keeps the Secret of the same name as it says.

After bitnami.com SealedSecrets, with strict scope only.
"""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Action, Create, Delete, Patch, Plan, Status
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, Watch
from ktool.api.marks import DOMAIN
from ktool.api.masked import Unreadable, encoded, values
from ktool.api.obj import (
    Obj,
    condition,
    controlled_by,
    deleting,
    generation,
    get,
    is_true,
    name,
    namespace,
    owner_reference,
    uid,
    with_condition,
)
from ktool.api.ref import SEALED_SECRET, SECRET, Ref
from ktool.api.rules import names
from ktool.api.schema import Field
from ktool.api.shapes.build import boolean, integer, obj, string, string_map
from ktool.api.shapes.meta import CONDITIONS, resource
from ktool.api.world import World
from ktool.logic.printercolumns import AGE, NAME
from ktool.logic.secrets import sealing, secretdata

SCHEMA = resource(
    spec=obj(
        "What the Secret holds, encrypted, and how it is to look.",
        {
            "key": string("Id of the public key that the values are sealed for."),
            "encryptedData": Field("map", "Sealed values by key, in base64.", items=Field("bytes"), required=True),
            "template": obj(
                "The Secret around the values.",
                {
                    "metadata": obj(
                        "What the Secret carries.",
                        {"labels": string_map("Its labels."), "annotations": string_map("Its annotations.")},
                    ),
                    "type": string("Its type.", default=secretdata.OPAQUE),
                    "immutable": boolean("Whether it can be changed."),
                },
                default={},
            ),
        },
        required=True,
    ),
    status=obj(
        "Whether the Secret is as it should be.",
        {"observedGeneration": integer("The generation this status was computed from."), "conditions": CONDITIONS},
    ),
)
SYNCED = "Synced"
NOTES = ("labels", "annotations")


def validate(sealed: Obj, old: Obj | None) -> list[Cause]:
    found = get(sealed, "spec", "encryptedData", default={})
    causes = [
        Cause(f"spec.encryptedData[{key}]", f"the key {problem}") for key in found if (problem := names.config_key(key))
    ]
    notes = get(sealed, "spec", "template", "metadata", default={})
    causes += names.label_causes(notes.get("labels") or {}, "spec.template.metadata.labels")
    return causes + names.annotation_causes(notes.get("annotations") or {}, "spec.template.metadata.annotations")


def plan(sealed: Obj, world: World, now: float) -> Plan:
    """Make the Secret, or bring it back to what is sealed; say in the status whether that is done."""
    if deleting(sealed):
        return Plan(because="being deleted; the garbage collector takes the Secret")
    found = world.get(Ref(SECRET, namespace(sealed), name(sealed)))
    actions: list[Action] = []
    try:
        wanted = _wanted(sealed, world)
        if found is not None and not controlled_by(found, sealed):
            raise sealing.SealError(f'secret "{name(sealed)}" exists already and is not managed by this SealedSecret')
        actions += _bring(found, wanted)
        problem = ""
    except (sealing.SealError, Unreadable) as error:
        problem = str(error)
    status = _status(sealed, problem, now)
    if status != sealed.get("status"):
        actions.append(Status(Ref.of(sealed), status, uid(sealed)))
    return Plan(tuple(actions), "" if actions else problem or "the Secret is as it is sealed")


def _wanted(sealed: Obj, world: World) -> Obj:
    """The Secret as it should be. Raises SealError and Unreadable."""
    key = world.get(sealing.KEY_REF)
    if key is None:
        raise sealing.SealError("this cluster has no sealing key: `ktool secret seal --fetch-key` makes one")
    private = values(key).get(sealing.PRIVATE)
    if private is None or len(private) != sealing.SIZE:
        raise sealing.SealError(f"{sealing.KEY_REF} holds no sealing key")
    template = get(sealed, "spec", "template", default={})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(sealed),
            "namespace": namespace(sealed),
            **{word: notes for word in NOTES if (notes := get(template, "metadata", word))},
            "ownerReferences": [owner_reference(sealed)],
        },
        "type": template.get("type") or secretdata.OPAQUE,
        "data": {key: encoded(value) for key, value in sealing.unsealed(sealed, private).items()},
        **({"immutable": True} if template.get("immutable") else {}),
    }
    if causes := secretdata.causes(secret, None):
        raise sealing.SealError("; ".join(map(str, causes)))
    return secret


def _bring(found: Obj | None, wanted: Obj) -> list[Action]:
    """The way from the Secret there is to the one that is wanted."""
    if found is None:
        return [Create(wanted)]
    if deleting(found):
        return []
    held = values(found)
    fixed = bool(found.get("immutable")) and (held != values(wanted) or not wanted.get("immutable"))
    if fixed or (found.get("type") or secretdata.OPAQUE) != wanted["type"]:
        return [Delete(Ref.of(found), uid(found))]
    patch: Obj = {}
    if held != values(wanted):
        patch["data"] = {**dict.fromkeys(held), **wanted["data"]}
    if wanted.get("immutable") and not found.get("immutable"):
        patch["immutable"] = True
    for word in NOTES:
        notes = wanted["metadata"].get(word) or {}
        missing = {key: text for key, text in notes.items() if get(found, "metadata", word, key) != text}
        if missing:
            patch.setdefault("metadata", {})[word] = missing
    return [Patch(Ref.of(found), patch, uid(found))] if patch else []


def _status(sealed: Obj, problem: str, now: float) -> Obj:
    before = get(sealed, "status", "conditions", default=())
    said = ("False", "NotOpened", problem) if problem else ("True", "Opened", "the Secret is as it is sealed")
    conditions = with_condition(before, SYNCED, said[0], now, said[1], said[2])
    return {"observedGeneration": generation(sealed), "conditions": conditions}


def progress(sealed: Obj, world: World) -> Progress:
    title = f'sealedsecret "{name(sealed)}"'
    if get(sealed, "status", "observedGeneration", default=0) < generation(sealed):
        return Progress(False, f"Waiting for {title} to be opened")
    if is_true(sealed, SYNCED):
        return Progress(True, f"{title} is opened")
    why = str((condition(sealed, SYNCED) or {}).get("message") or "it cannot be opened")
    return Progress(False, f"{title}: {why}", failed=why)


def _woken_by_secret(secret: Obj, world: World) -> Iterable[Ref]:
    """Whoever owns it, whoever would make one of its name, and with the sealing key everybody."""
    if Ref.of(secret) == sealing.KEY_REF:
        return [Ref.of(sealed) for sealed in world.list(SEALED_SECRET)]
    return [Ref(SEALED_SECRET, namespace(secret), name(secret))]


def _synced(sealed: Obj, now: float) -> str:
    return str((condition(sealed, SYNCED) or {}).get("status", ""))


KIND = Kind(
    Names(DOMAIN, "SealedSecret", "sealedsecrets"),
    (Version("v1alpha1", SCHEMA),),
    rules=Rules(validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("SYNCED", _synced),
            AGE,
        )
    ),
    controller=Controller(watches=(Watch(SECRET, _woken_by_secret),), plan=plan, progress=progress),
    subresources=("status",),
    apply_order=20,
)
