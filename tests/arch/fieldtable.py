"""README's table of fields, out of the schemas.

python -m tests.arch.fieldtable writes it into README.md, between its two marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ktool import app
from ktool.api.kind import Kind
from ktool.api.schema import Field, field_at

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"

CONTAINER = "spec.containers"
ROWS = (
    ("Deployment `spec`", "Deployment", "spec"),
    ("Deployment `spec.strategy`", "Deployment", "spec.strategy"),
    ("ReplicaSet `spec`", "ReplicaSet", "spec"),
    ("Pod `spec`, and every template's", "Pod", "spec"),
    ("`volumes[]`", "Pod", "spec.volumes"),
    ("`sources[]` of a projected volume", "Pod", "spec.volumes.projected.sources"),
    ("`securityContext` of a pod", "Pod", "spec.securityContext"),
    ("`containers[]`, `initContainers[]`", "Pod", CONTAINER),
    ("`lifecycle`", "Pod", f"{CONTAINER}.lifecycle"),
    ("`lifecycle.postStart`", "Pod", f"{CONTAINER}.lifecycle.postStart"),
    ("`lifecycle.preStop`", "Pod", f"{CONTAINER}.lifecycle.preStop"),
    ("`env[].valueFrom`", "Pod", f"{CONTAINER}.env.valueFrom"),
    ("`envFrom[]`", "Pod", f"{CONTAINER}.envFrom"),
    ("`ports[]`", "Pod", f"{CONTAINER}.ports"),
    ("`volumeMounts[]`", "Pod", f"{CONTAINER}.volumeMounts"),
    ("`resources`", "Pod", f"{CONTAINER}.resources"),
    ("`securityContext` of a container", "Pod", f"{CONTAINER}.securityContext"),
    ("`affinity`", "Pod", "spec.affinity"),
    ("`topologySpreadConstraints[]`", "Pod", "spec.topologySpreadConstraints"),
    ("ConfigMap", "ConfigMap", ""),
    ("Secret", "Secret", ""),
    ("SealedSecret `spec`", "SealedSecret", "spec"),
    ("Service `spec`", "Service", "spec"),
    ("`ports[]` of a Service", "Service", "spec.ports"),
    ("EndpointSlice", "EndpointSlice", ""),
    ("`endpoints[]`", "EndpointSlice", "endpoints"),
    ("NetworkPolicy `spec`", "NetworkPolicy", "spec"),
    ("`ingress[]`", "NetworkPolicy", "spec.ingress"),
    ("`egress[]`", "NetworkPolicy", "spec.egress"),
    ("`from[]`, `to[]`", "NetworkPolicy", "spec.ingress.from"),
    ("`ports[]` of a NetworkPolicy", "NetworkPolicy", "spec.ingress.ports"),
    ("Node `spec`", "Node", "spec"),
    ("Lease `spec`", "Lease", "spec"),
)
_TOP = ("apiVersion", "kind", "metadata", "status")
_TEMPLATE = "spec.template.spec."


def members(kind: Kind, path: str) -> dict[str, Field]:
    """The fields of the object, or of the list's or map's elements, at a path."""
    found = field_at(kind.schema, path.split(".")) if path else kind.schema
    assert found is not None, f"{kind.name} has no {path}"
    inside = found.items if found.type in ("array", "map") and found.items is not None else found
    return {name: field for name, field in inside.fields.items() if not field.read_only}


def table() -> str:
    kinds = app.kinds()
    lines = ["| where | acted on | known, not acted on |", "|---|---|---|"]
    for title, kind, path in ROWS:
        fields = members(kinds.named(kind)[0], path)
        acted = [name for name, field in fields.items() if field.acted and (path or name not in _TOP)]
        known = [name for name, field in fields.items() if not field.acted]
        lines.append(f"| {title} | {_words(acted)} | {_words(known)} |")
    return "\n".join(lines)


def _words(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def not_acted_on() -> Iterator[tuple[str, str]]:
    """(kind, path) of every field that is known and not acted on, as the table would show it: a template is a Pod, an
    init container a container."""
    for kind in app.kinds():
        for path in _below(kind.schema, ""):
            if path.startswith(_TEMPLATE):
                yield "Pod", f"spec.{path.removeprefix(_TEMPLATE)}".replace("spec.initContainers.", f"{CONTAINER}.")
            else:
                yield kind.name, path.replace("spec.initContainers.", f"{CONTAINER}.")


def _below(field: Field, path: str) -> Iterator[str]:
    if field.type in ("array", "map"):
        if field.items is not None:
            yield from _below(field.items, path)
        return
    for name, child in field.fields.items():
        inside = f"{path}.{name}" if path else name
        if child.read_only:
            continue
        if child.acted:
            yield from _below(child, inside)
        else:
            yield inside


def in_readme() -> str:
    _, begin, rest = README.read_text().partition(BEGIN)
    inside, end, _ = rest.partition(END)
    assert begin and end, f"README.md has lost {BEGIN} or {END}"
    return inside.strip()


if __name__ == "__main__":
    README.write_text(README.read_text().replace(in_readme(), table()))
