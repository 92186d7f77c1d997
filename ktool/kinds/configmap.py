"""ConfigMap (v1): named texts and bytes for pods to read."""

from __future__ import annotations

import base64

from ktool.api.describe import Description, head
from ktool.api.errors import Cause
from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.obj import Obj, name, namespace
from ktool.api.ref import Ref
from ktool.api.rules import names
from ktool.api.schema import Field
from ktool.api.shapes.build import boolean, string_map
from ktool.api.shapes.meta import resource
from ktool.api.world import World
from ktool.logic.network import links
from ktool.logic.printercolumns import AGE, NAME
from ktool.logic.secrets.secretdata import SIZE_LIMIT

SCHEMA = resource(
    data=string_map("Texts by key."),
    binaryData=Field("map", "Bytes by key, in base64.", items=Field("bytes")),
    immutable=boolean("Once true, neither the content nor this can be changed."),
)


def validate(config: Obj, old: Obj | None) -> list[Cause]:
    """Keys that can be file names and are used once, no more than 1 MiB, and nothing changed in an immutable one."""
    data, binary = config.get("data") or {}, config.get("binaryData") or {}
    causes = [
        Cause(f"{member}[{key}]", f"the key {problem}")
        for member, entries in (("data", data), ("binaryData", binary))
        for key in entries
        if (problem := names.config_key(key))
    ]
    for key in sorted(data.keys() & binary.keys()):
        causes.append(Cause(f"binaryData[{key}]", "the same key stands in data", "FieldValueDuplicate"))
    size = sum(len(text.encode()) for text in data.values())
    size += sum(len(base64.b64decode(text)) for text in binary.values())
    if size > SIZE_LIMIT:
        causes.append(Cause("", f"must be no more than {SIZE_LIMIT} bytes, not {size}", "FieldValueTooLong"))
    if Ref.of(config) == links.SETTINGS and data.get("mode", links.HOSTGW) not in links.MODES:
        known = ", ".join(links.MODES)
        causes.append(Cause("data[mode]", f'"{data["mode"]}" is no mode of the pod network; use one of {known}'))
    if old is not None and old.get("immutable"):
        causes += _changes(config, old)
    return causes


def _changes(config: Obj, old: Obj) -> list[Cause]:
    message = "field is immutable when `immutable` is set"
    causes = [
        Cause(member, message, "FieldValueForbidden")
        for member in ("data", "binaryData")
        if (config.get(member) or {}) != (old.get(member) or {})
    ]
    if not config.get("immutable"):
        causes.append(Cause("immutable", message, "FieldValueForbidden"))
    return causes


def _count(config: Obj, now: float) -> str:
    return str(len(config.get("data") or {}) + len(config.get("binaryData") or {}))


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.line("")
    sheet.line("Data")
    sheet.line("====")
    for key, text in sorted((obj.get("data") or {}).items()):
        sheet.line(f"{key}:")
        sheet.line("----")
        for line in str(text).split("\n"):
            sheet.line(line)
        sheet.line("")
    sheet.line("")
    sheet.line("BinaryData")
    sheet.line("====")
    for key, data in sorted((obj.get("binaryData") or {}).items()):
        sheet.line(f"{key}: {len(data) * 3 // 4 - data.count('=')} bytes")
    sheet.line("")
    return sheet


KIND = Kind(
    Names("", "ConfigMap", "configmaps", short=("cm",)),
    (Version("v1", SCHEMA),),
    rules=Rules(validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("DATA", _count, type="integer"),
            AGE,
        ),
        describe=describe,
    ),
    apply_order=20,
)
