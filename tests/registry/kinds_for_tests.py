"""A few small kinds in a registry of their own, so that these tests do not depend on the real ones."""

from __future__ import annotations

from ktool.api.errors import Cause
from ktool.api.kind import Kind, Names, Rules, Version
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, get, put
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource

_TEXT = Field("string")
_PORT = Field(
    "object",
    fields={"port": Field("integer", required=True), "name": _TEXT, "protocol": Field("string", default="TCP")},
)
_PORTS = Field("array", items=_PORT, merge_key="port")
_ANY_STATUS = Field("object", fields={"phase": _TEXT, "replicas": Field("integer"), "conditions": Field("any")})


def _default_namespace(obj: Obj) -> Obj:
    if get(obj, "spec", "finalizers") is None and not get(obj, "metadata", "uid"):
        obj = put(obj, "spec", "finalizers", ["kubernetes"])
    return obj if get(obj, "status", "phase") else put(obj, "status", "phase", "Active")


NAMESPACE = Kind(
    Names("", "Namespace", "namespaces", namespaced=False),
    (
        Version(
            "v1",
            resource(
                spec=Field("object", fields={"finalizers": Field("array", items=_TEXT)}),
                status=Field("object", fields={"phase": _TEXT}),
            ),
        ),
    ),
    rules=Rules(default=_default_namespace),
    subresources=("status",),
    apply_order=0,
)


def _validate_thing(obj: Obj, old: Obj | None) -> list[Cause]:
    causes = []
    if get(obj, "spec", "size", default=0) == 13:
        causes.append(Cause("spec.size", "must not be 13"))
    if old is not None and get(obj, "spec", "fixed") != get(old, "spec", "fixed"):
        causes.append(Cause("spec.fixed", "field is immutable"))
    return causes


THING = Kind(
    Names("test.dev", "Thing", "things"),
    (
        Version(
            "v1",
            resource(
                spec=Field(
                    "object",
                    fields={
                        "size": Field("integer", default=1, minimum=0),
                        "replicas": Field("integer", default=1, minimum=0),
                        "fixed": _TEXT,
                        "note": _TEXT,
                        "ports": _PORTS,
                        "tags": Field("map", items=_TEXT),
                        "memory": Field("quantity"),
                        "selector": Field("any"),
                        "ignored": Field("string", acted=False),
                    },
                ),
                status=_ANY_STATUS,
            ),
        ),
    ),
    rules=Rules(
        validate=_validate_thing,
        warn=lambda obj: ["spec.note: says nothing"] if get(obj, "spec", "note") == "nothing" else [],
    ),
    subresources=("status", "scale"),
)

CONFIG = Kind(
    Names("", "Config", "configs"), (Version("v1", resource(data=Field("map", items=_TEXT))),), apply_order=20
)


def _grace(obj: Obj) -> int | None:
    if not get(obj, "spec", "nodeName"):
        return 0
    return int(get(obj, "spec", "terminationGracePeriodSeconds", default=30))


POD = Kind(
    Names("", "Pod", "pods"),
    (
        Version(
            "v1",
            resource(
                spec=Field(
                    "object",
                    required=True,
                    fields={
                        "nodeName": _TEXT,
                        "terminationGracePeriodSeconds": Field("integer", default=30),
                        "containers": Field("array", items=Field("any"), required=True, merge_key="name"),
                        "restartPolicy": Field("string", default="Always"),
                    },
                ),
                status=Field("object", fields={"phase": _TEXT, "podIP": _TEXT, "conditions": Field("any")}),
            ),
        ),
    ),
    rules=Rules(
        default=lambda obj: obj if get(obj, "status", "phase") else put(obj, "status", "phase", "Pending"),
        graceful=_grace,
    ),
    subresources=("status",),
)

EVENT = Kind(
    Names("", "Event", "events"),
    (
        Version(
            "v1",
            resource(
                involvedObject=Field("any"),
                reason=_TEXT,
                message=_TEXT,
                source=Field("any"),
                reportingComponent=_TEXT,
                firstTimestamp=_TEXT,
                lastTimestamp=_TEXT,
                count=Field("integer"),
                type=_TEXT,
            ),
        ),
    ),
)


def small_kinds() -> Kinds:
    kinds = Kinds()
    for kind in (NAMESPACE, THING, CONFIG, POD, EVENT):
        kinds.add(kind)
    return kinds
