"""Secret (v1): small confidential values for pods to read, hidden wherever they are shown."""

from __future__ import annotations

from ktool.api.describe import Description, head
from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.masked import values
from ktool.api.obj import Obj, name, namespace
from ktool.api.schema import Field
from ktool.api.shapes.build import boolean, string
from ktool.api.shapes.meta import resource
from ktool.api.world import World
from ktool.logic.printercolumns import AGE, NAME
from ktool.logic.secrets import secretdata

SCHEMA = resource(
    data=Field(
        "map", "Values by key, in base64.", items=Field("bytes"), masked=True, hint="plain text belongs in stringData"
    ),
    stringData=Field(
        "map",
        "Values by key as plain text; written into data, which they win over, and never read back.",
        items=Field("string"),
        masked=True,
        hint="put quotes around it",
    ),
    type=string("What the values are for; some types need certain keys (Opaque, kubernetes.io/tls, ...)."),
    immutable=boolean("Once true, neither the content nor this can be changed."),
)


def default(secret: Obj) -> Obj:
    """stringData in data, data in canonical base64, and no copy of it in an annotation."""
    secret = secretdata.without_copies(secretdata.absorbed(secret))
    data = secret.get("data")
    if data and (canonical := secretdata.canonical(data)) != data:
        secret = {**secret, "data": canonical}
    return secret if secret.get("type") else {**secret, "type": secretdata.OPAQUE}


def _count(secret: Obj, now: float) -> str:
    return str(len(secret.get("data") or {}))


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    """Keys and sizes, as kubectl shows them: never a value."""
    sheet = Description()
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.line("")
    sheet.row("Type", obj.get("type"))
    if obj.get("immutable"):
        sheet.row("Immutable", "true")
    sheet.line("")
    sheet.line("Data")
    sheet.line("====")
    for key, masked in sorted(values(obj).items()):
        sheet.row(key, f"{len(masked)} bytes")
    return sheet


KIND = Kind(
    Names("", "Secret", "secrets"),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default, absorb=secretdata.absorbed, validate=secretdata.causes, redact=secretdata.redacted),
    looks=Looks(
        columns=(
            NAME,
            Column("TYPE", lambda obj, now: str(obj.get("type") or secretdata.OPAQUE)),
            Column("DATA", _count, type="integer"),
            AGE,
        ),
        describe=describe,
    ),
    apply_order=20,
)
