"""Pod descriptions: containers, volumes and placement of a pod or a pod template, as `describe` shows them.

The kinds that have pods use it for their own descriptions (k8s.io/kubectl/pkg/describe).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ktool.api.describe import NONE, Description, when
from ktool.api.obj import Obj, get


def conditions(sheet: Description, pod: Obj) -> None:
    entries = get(pod, "status", "conditions", default=())
    if entries:
        sheet.title("Conditions")
        sheet.table(
            ("Type", "Status"), [(entry["type"], str(entry.get("status", ""))) for entry in entries], rule=False
        )


def placement(sheet: Description, spec: Obj) -> None:
    sheet.mapping("Node-Selectors", spec.get("nodeSelector") or {})
    sheet.rows("Tolerations", [_toleration(entry) for entry in spec.get("tolerations") or ()])


def _toleration(entry: Mapping[str, Any]) -> str:
    text = str(entry.get("key", ""))
    if entry.get("value"):
        text += f"={entry['value']}"
    if entry.get("effect"):
        text += f":{entry['effect']}"
    if entry.get("operator") == "Exists":
        text += " op=Exists"
    if entry.get("tolerationSeconds") is not None:
        text += f" for {entry['tolerationSeconds']}s"
    return text.strip()


# --- containers --------------------------------------------------------------------------------------------------


def containers(sheet: Description, title: str, specs: Sequence[Obj], statuses: Sequence[Obj], level: int = 0) -> None:
    """Describe the containers of a pod or (without statuses) of a template."""
    known = {status["name"]: status for status in statuses}
    sheet.title(title, level)
    for spec in specs:
        sheet.title(spec["name"], level + 1)
        _container(sheet, spec, known.get(spec["name"]), level + 2)


def _container(sheet: Description, spec: Obj, status: Obj | None, level: int) -> None:
    if status is not None:
        sheet.row("Container ID", status.get("containerID", ""), level)
    sheet.row("Image", spec.get("image", ""), level)
    if status is not None:
        sheet.row("Image ID", status.get("imageID", ""), level)
    ports = spec.get("ports") or ()
    plural = "s" if len(ports) > 1 else ""
    sheet.row(f"Port{plural}", ", ".join(_port(port, "containerPort") for port in ports), level)
    sheet.row(f"Host Port{plural}", ", ".join(_port(port, "hostPort") for port in ports), level)
    for label, key in (("Command", "command"), ("Args", "args")):
        if spec.get(key):
            sheet.title(label, level)
            for word in spec[key]:
                for line in str(word).split("\n"):
                    sheet.line(line, level + 1)
    if status is not None:
        _state(sheet, "State", status.get("state") or {}, level)
        if status.get("lastState"):
            _state(sheet, "Last State", status["lastState"], level)
        sheet.row("Ready", status.get("ready", False), level)
        sheet.row("Restart Count", status.get("restartCount", 0), level)
    for label, key in (("Limits", "limits"), ("Requests", "requests")):
        amounts = get(spec, "resources", key, default={})
        if amounts:
            sheet.title(label, level)
            for resource, amount in sorted(amounts.items()):
                sheet.row(resource, amount, level + 1)
    for kind in ("liveness", "readiness", "startup"):
        if probe := spec.get(f"{kind}Probe"):
            sheet.row(kind.capitalize(), _probe(probe), level)
    _environment(sheet, spec, level)
    _mounts(sheet, spec, level)


def _probe(probe: Obj) -> str:
    """A probe in kubectl's form: http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3"""
    knobs = (
        ("delay={}s", "initialDelaySeconds", 0),
        ("timeout={}s", "timeoutSeconds", 1),
        ("period={}s", "periodSeconds", 10),
        ("#success={}", "successThreshold", 1),
        ("#failure={}", "failureThreshold", 3),
    )
    attributes = " ".join(text.format(probe.get(key) or default) for text, key, default in knobs)
    if found := probe.get("exec"):
        return f"exec [{' '.join(map(str, found.get('command') or ()))}] {attributes}"
    if found := probe.get("httpGet"):
        scheme, path = str(found.get("scheme") or "HTTP").lower(), str(found.get("path") or "/")
        return f"http-get {scheme}://{found.get('host') or ''}:{found.get('port')}{path} {attributes}"
    if found := probe.get("tcpSocket"):
        return f"tcp-socket {found.get('host') or ''}:{found.get('port')} {attributes}"
    if found := probe.get("grpc"):
        return f"grpc <pod>:{found.get('port')} {found.get('service') or ''} {attributes}"
    return f"unknown {attributes}"


def _port(port: Obj, key: str) -> str:
    return f"{port.get(key) or 0}/{port.get('protocol') or 'TCP'}" + (f" ({port['name']})" if port.get("name") else "")


def _state(sheet: Description, label: str, state: Obj, level: int) -> None:
    for word, title in (("running", "Running"), ("waiting", "Waiting"), ("terminated", "Terminated")):
        entry = state.get(word)
        if entry is None:
            continue
        sheet.row(label, title, level)
        for name_, key in (("Reason", "reason"), ("Message", "message"), ("Signal", "signal")):
            if entry.get(key):
                sheet.row(name_, entry[key], level + 1)
        if word == "terminated":
            sheet.row("Exit Code", entry.get("exitCode", 0), level + 1)
        for name_, key in (("Started", "startedAt"), ("Finished", "finishedAt")):
            if entry.get(key):
                sheet.row(name_, when(entry[key]), level + 1)
        return
    sheet.row(label, "Waiting", level)


def _environment(sheet: Description, spec: Obj, level: int) -> None:
    sources = spec.get("envFrom") or ()
    if sources:
        sheet.title("Environment Variables from", level)
        for source in sources:
            kind, entry = next(((k, v) for k, v in source.items() if isinstance(v, dict)), ("", {}))
            prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
            what = kind.removesuffix("Ref")
            sheet.row(
                str(entry.get("name", "")), f"{what[:1].upper()}{what[1:]}{prefix}  Optional: {_flag(entry)}", level + 1
            )
    entries = spec.get("env") or ()
    if not entries:
        sheet.row("Environment", "", level)
        return
    sheet.title("Environment", level)
    for entry in entries:
        sheet.row(entry["name"], _value(entry), level + 1)


def _value(entry: Obj) -> str:
    source = entry.get("valueFrom") or {}
    if ref := source.get("configMapKeyRef"):
        return f"<set to the key '{ref.get('key')}' of config map '{ref.get('name')}'>  Optional: {_flag(ref)}"
    if ref := source.get("secretKeyRef"):
        return f"<set to the key '{ref.get('key')}' in secret '{ref.get('name')}'>  Optional: {_flag(ref)}"
    if ref := source.get("fieldRef"):
        return f"({ref.get('apiVersion', 'v1')}:{ref.get('fieldPath')})"
    if ref := source.get("resourceFieldRef"):
        return f"({ref.get('resource')})"
    return str(entry.get("value") or "")


def _flag(reference: Obj) -> str:
    return str(bool(reference.get("optional"))).lower()


def _mounts(sheet: Description, spec: Obj, level: int) -> None:
    mounts = spec.get("volumeMounts") or ()
    if not mounts:
        sheet.row("Mounts", "", level)
        return
    sheet.title("Mounts", level)
    for mount in sorted(mounts, key=lambda mount: mount["mountPath"]):
        flags = "ro" if mount.get("readOnly") else "rw"
        path = f',path="{mount["subPath"]}"' if mount.get("subPath") else ""
        sheet.line(f"{mount['mountPath']} from {mount['name']} ({flags}{path})", level + 1)


# --- volumes -----------------------------------------------------------------------------------------------------

_VOLUME_TYPES = {
    "configMap": ("ConfigMap", "a volume populated by a ConfigMap"),
    "emptyDir": ("EmptyDir", "a temporary directory that shares a pod's lifetime"),
    "hostPath": ("HostPath", "bare host directory volume"),
    "secret": ("Secret", "a volume populated by a Secret"),
    "projected": ("Projected", "a volume that contains injected data from multiple sources"),
    "downwardAPI": ("DownwardAPI", "a volume populated by information about the pod"),
}


def volumes(sheet: Description, spec: Obj, level: int = 0) -> None:
    found = spec.get("volumes") or ()
    if not found:
        sheet.row("Volumes", "", level)
        return
    sheet.title("Volumes", level)
    for volume in found:
        sheet.title(volume["name"], level + 1)
        kind = next((key for key in volume if key != "name"), "emptyDir")
        source: Obj = volume.get(kind) or {}
        title, doc = _VOLUME_TYPES.get(kind, (kind[:1].upper() + kind[1:], ""))
        sheet.row("Type", f"{title} ({doc})" if doc else title, level + 2)
        for label, key in _VOLUME_ROWS.get(kind, ()):
            value = source.get(key)
            sheet.row(label, value if value is not None else _VOLUME_UNSET.get(label, ""), level + 2)
        for label, value in _volume_parts(kind, source):
            sheet.row(label, value, level + 2)


def _volume_parts(kind: str, source: Obj) -> Iterator[tuple[str, str]]:
    """The sources of a projected volume, or the items of a downwardAPI volume."""
    for part in source.get("sources") or ():
        if (inner := part.get("secret")) is not None:
            yield "SecretName", str(inner.get("name"))
            yield "Optional", _flag(inner)
        elif (inner := part.get("configMap")) is not None:
            yield "ConfigMapName", str(inner.get("name"))
            yield "Optional", _flag(inner)
        elif part.get("downwardAPI") is not None:
            yield "DownwardAPI", "true"
    for item in source.get("items") or () if kind == "downwardAPI" else ():
        reference = item.get("fieldRef") or item.get("resourceFieldRef") or {}
        yield str(reference.get("fieldPath") or reference.get("resource") or ""), f"-> {item.get('path')}"


_VOLUME_ROWS = {
    "configMap": (("Name", "name"), ("Optional", "optional")),
    "secret": (("SecretName", "secretName"), ("Optional", "optional")),
    "emptyDir": (("Medium", "medium"), ("SizeLimit", "sizeLimit")),
    "hostPath": (("Path", "path"), ("HostPathType", "type")),
}
_VOLUME_UNSET = {"Optional": "false", "SizeLimit": "<unset>", "Medium": NONE}


def template(sheet: Description, pod_template: Obj) -> None:
    """Describe the pod template of a workload."""
    sheet.title("Pod Template")
    sheet.mapping("Labels", get(pod_template, "metadata", "labels", default={}), 1)
    notes = get(pod_template, "metadata", "annotations", default={})
    if notes:
        sheet.mapping("Annotations", notes, 1, sign=": ")
    spec = get(pod_template, "spec", default={})
    if spec.get("initContainers"):
        containers(sheet, "Init Containers", spec["initContainers"], (), 1)
    containers(sheet, "Containers", spec.get("containers") or (), (), 1)
    volumes(sheet, spec, 1)
    sheet.mapping("Node-Selectors", spec.get("nodeSelector") or {}, 1)
    sheet.rows("Tolerations", [_toleration(entry) for entry in spec.get("tolerations") or ()], 1)
