"""Namespace (v1): a scope for names. It goes when everything in it has gone; the garbage collector sees to that."""

from __future__ import annotations

from ktool.api.describe import Description, conditions, head
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version
from ktool.api.marks import NAMESPACE_NAME, PULL_SECRETS
from ktool.api.obj import Obj, deleting, get, meta, name, put
from ktool.api.rules import names
from ktool.api.shapes.build import choice, obj, strings
from ktool.api.shapes.meta import CONDITIONS, resource
from ktool.api.world import World
from ktool.logic.printercolumns import AGE, NAME
from ktool.logic.secrets.podrefs import pull_defaults

SCHEMA = resource(
    spec=obj(
        "What the namespace is to be.",
        {"finalizers": strings("What must be done before it may go; kubernetes stands for emptying it.")},
    ),
    status=obj(
        "What it is.",
        {"phase": choice("Whether it can be used.", "Active", "Terminating"), "conditions": CONDITIONS},
        read_only=True,
    ),
)


def default(namespace: Obj) -> Obj:
    """A new one gets the finalizer that keeps it until it is empty; nothing puts it back later, or it could not go.
    Every namespace has its name as a label, as in Kubernetes, so that selectors can name it."""
    if not meta(namespace).get("uid") and get(namespace, "spec", "finalizers") is None:
        namespace = put(namespace, "spec", "finalizers", ["kubernetes"])
    if not get(namespace, "status", "phase"):
        namespace = put(namespace, "status", "phase", "Active")
    if name(namespace) and get(namespace, "metadata", "labels", NAMESPACE_NAME) != name(namespace):
        namespace = put(namespace, "metadata", "labels", NAMESPACE_NAME, name(namespace))
    return namespace


def validate(namespace: Obj, old: Obj | None) -> list[Cause]:
    problem = names.dns_label(name(namespace))
    causes = [Cause("metadata.name", f'"{name(namespace)}" {problem}')] if problem else []
    for index, finalizer in enumerate(get(namespace, "spec", "finalizers", default=())):
        if problem := names.label_key(finalizer):
            causes.append(Cause(f"spec.finalizers[{index}]", f'"{finalizer}" {problem}'))
    for secret in pull_defaults(namespace):
        if problem := names.dns_subdomain(secret):
            message = f'must be names of Secrets with commas between them: "{secret}" {problem}'
            causes.append(Cause(f"metadata.annotations[{PULL_SECRETS}]", message))
    return causes


def progress(namespace: Obj, world: World) -> Progress:
    if deleting(namespace):
        return Progress(False, f'namespace "{name(namespace)}" is being deleted', failed="it is being deleted")
    return Progress(True, f'namespace "{name(namespace)}" is active')


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
    sheet.row("Name", name(obj))
    head(sheet, obj)
    sheet.row("Status", get(obj, "status", "phase", default="Active"))
    sheet.line("")
    conditions(sheet, obj)
    return sheet


KIND = Kind(
    Names("", "Namespace", "namespaces", short=("ns",), namespaced=False),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default, validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("STATUS", lambda obj, now: get(obj, "status", "phase", default="Active")),
            AGE,
        ),
        describe=describe,
        events=False,
    ),
    controller=Controller(progress=progress),
    subresources=("status",),
    apply_order=0,
)
