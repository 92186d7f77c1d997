"""Validation of a core/v1 Container beyond its schema: rules between fields. rules/podrules and rules/volumerules call
it.

Every value has passed `schema.check` before. Source: the field documentation of core/v1, and pkg/apis/core/validation
for what it leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ktool.api.errors import Cause
from ktool.api.rules import names
from ktool.api.schema import show
from ktool.api.units import quantity

REQUIRED, DUPLICATE, FORBIDDEN = "FieldValueRequired", "FieldValueDuplicate", "FieldValueForbidden"
NOT_FOUND, NOT_SUPPORTED = "FieldValueNotFound", "FieldValueNotSupported"

ENV_FIELDS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_URL_PATH = re.compile(r"[^\x00-\x20\x7f]{1,4096}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})

HOOKS = ("exec", "httpGet", "tcpSocket", "sleep")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def container_causes(
    container: Mapping[str, Any], path: str, *, volumes: Mapping[str, str], host_network: bool
) -> list[Cause]:
    """Validate one container. `volumes` maps the names of the pod's volumes to their sources."""
    causes = []
    image = container.get("image")
    if not image:
        causes.append(Cause(f"{path}.image", "is required", REQUIRED))
    elif image != image.strip() or " " in image:
        causes.append(Cause(f"{path}.image", f"must not hold spaces: {show(image)}"))
    if ports := container.get("ports"):
        causes += _ports(ports, f"{path}.ports", host_network)
    if env := container.get("env"):
        for index, variable in enumerate(env):
            causes += _env(variable, f"{path}.env[{index}]")
    for index, source in enumerate(container.get("envFrom") or ()):
        causes += _env_from(source, f"{path}.envFrom[{index}]")
    if mounts := container.get("volumeMounts"):
        causes += _mounts(mounts, f"{path}.volumeMounts", volumes)
    if resources := container.get("resources"):
        causes += resource_causes(resources, f"{path}.resources")
    if context := container.get("securityContext"):
        causes += _security(context, f"{path}.securityContext")
    for probe in PROBES:
        if probe in container:
            causes += _probe(container[probe], f"{path}.{probe}", probe, container)
    for hook, action in (container.get("lifecycle") or {}).items():
        if hook in ("postStart", "preStop"):
            causes += one_of(action, f"{path}.lifecycle.{hook}", HOOKS, "handler")
            causes += _handler(action, f"{path}.lifecycle.{hook}", container)
    return causes


def one_of(value: Mapping[str, Any], path: str, members: Collection[str], what: str) -> list[Cause]:
    """A cause unless exactly one of `members` is set in `value`."""
    chosen = [member for member in members if value.get(member) is not None]
    if len(chosen) == 1:
        return []
    if not chosen:
        return [Cause(path, f"must have one {what}: {', '.join(sorted(members)[:6])}...", REQUIRED)]
    return [Cause(path, f"may have only one {what}, not {' and '.join(chosen)}", FORBIDDEN)]


# --- ports -------------------------------------------------------------------------------------------------------


def _ports(ports: Sequence[Mapping[str, Any]], path: str, host_network: bool) -> Iterator[Cause]:
    seen = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if name := port.get("name"):
            if problem := names.port_name(name):
                yield Cause(f"{here}.name", f'"{name}" {problem}')
            if name in seen:
                yield Cause(f"{here}.name", f'two ports are named "{name}"', DUPLICATE)
            seen.add(name)
        if host_network and port.get("hostPort") and port["hostPort"] != port["containerPort"]:
            yield Cause(f"{here}.hostPort", "must be equal to containerPort with hostNetwork")
        if (address := port.get("hostIP")) and (problem := names.ip(address)):
            yield Cause(f"{here}.hostIP", f'"{address}" {problem}')


# --- environment -------------------------------------------------------------------------------------------------


def _env(variable: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if problem := names.env_name(variable["name"]):
        yield Cause(f"{path}.name", f"{show(variable['name'])} {problem}")
    source = variable.get("valueFrom")
    if source is None:
        return
    here = f"{path}.valueFrom"
    if variable.get("value"):
        yield Cause(here, "may not be set beside a value", FORBIDDEN)
    yield from one_of(
        source, here, ("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef"), "source"
    )
    for member in ("configMapKeyRef", "secretKeyRef"):
        if reference := source.get(member):
            yield from _named(reference, f"{here}.{member}")
            if problem := names.config_key(reference["key"]):
                yield Cause(f"{here}.{member}.key", f'"{reference["key"]}" {problem}')
    if (reference := source.get("fieldRef")) and not _is_env_field(reference["fieldPath"]):
        known = ", ".join(sorted(ENV_FIELDS))
        message = f"must be one of {known}, metadata.labels['key'] or metadata.annotations['key']"
        yield Cause(f"{here}.fieldRef.fieldPath", f'{message}, not "{reference["fieldPath"]}"', NOT_SUPPORTED)
    if reference := source.get("resourceFieldRef"):
        kind, _, resource = reference["resource"].partition(".")
        if kind not in ("limits", "requests") or (resource not in _STANDARD and not resource.startswith("hugepages-")):
            message = f'must be like limits.cpu or requests.memory, not "{reference["resource"]}"'
            yield Cause(f"{here}.resourceFieldRef.resource", message, NOT_SUPPORTED)


def _is_env_field(field_path: str) -> bool:
    if field_path in ENV_FIELDS:
        return True
    found = SUBSCRIPT.fullmatch(field_path)
    return found is not None and not names.label_key(found.group(2).lower())


def _env_from(source: Mapping[str, Any], path: str) -> Iterator[Cause]:
    yield from one_of(source, path, ("configMapRef", "secretRef"), "source")
    for member in ("configMapRef", "secretRef"):
        if reference := source.get(member):
            yield from _named(reference, f"{path}.{member}")
    if (prefix := source.get("prefix")) and (problem := names.env_name(prefix)):
        yield Cause(f"{path}.prefix", f"{show(prefix)} {problem}")


def _named(reference: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if problem := names.dns_subdomain(reference["name"]):
        yield Cause(f"{path}.name", f'"{reference["name"]}" {problem}')


# --- mounts ------------------------------------------------------------------------------------------------------


def _mounts(mounts: Sequence[Mapping[str, Any]], path: str, volumes: Mapping[str, str]) -> Iterator[Cause]:
    seen = set()
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        if mount["name"] not in volumes:
            known = f"; its volumes are {', '.join(volumes)}" if volumes else ""
            yield Cause(f"{here}.name", f'the pod has no volume "{mount["name"]}"{known}', NOT_FOUND)
        target = mount["mountPath"]
        if problem := names.absolute_path(target):
            yield Cause(f"{here}.mountPath", f'"{target}" {problem}')
        elif ":" in target or "," in target:
            yield Cause(f"{here}.mountPath", f"\"{target}\" must not hold ':' or ','")
        if target.rstrip("/") in seen:
            yield Cause(f"{here}.mountPath", f'"{target}" is mounted twice', DUPLICATE)
        seen.add(target.rstrip("/"))
        if (sub := mount.get("subPath")) and (problem := names.relative_path(sub)):
            yield Cause(f"{here}.subPath", f'"{sub}" {problem}')
        if sub and mount.get("subPathExpr"):
            yield Cause(f"{here}.subPathExpr", "may not be set beside subPath", FORBIDDEN)


# --- resources ---------------------------------------------------------------------------------------------------


def resource_causes(resources: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Validate resources: resource names, sizes, and no request above its limit. Used for a pod's own `resources`
    too."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for member, entries in (("limits", limits), ("requests", requests)):
        for name, amount in entries.items():
            here = f"{path}.{member}[{name}]"
            if name not in _STANDARD and (problem := _resource_name(name)):
                yield Cause(here, problem, NOT_SUPPORTED)
            elif quantity.value(amount) < 0:
                yield Cause(here, f"must not be less than 0, not {show(amount)}")
            elif name == "cpu" and quantity.value(amount) * 1000 % 1:
                yield Cause(here, f"must not be finer than 1m, not {show(amount)}")
            elif "/" in name and quantity.value(amount).denominator != 1:
                yield Cause(here, f"must be a whole number, not {show(amount)}")
    for name, amount in requests.items():
        if name in limits and quantity.value(amount) > quantity.value(limits[name]):
            message = f"must be no more than the {name} limit of {limits[name]}, not {show(amount)}"
            yield Cause(f"{path}.requests[{name}]", message)


def _resource_name(name: str) -> str:
    if "/" in name:
        problem = names.label_key(name)
        return f"the name {problem}" if problem else ""
    if name.startswith("hugepages-"):
        return ""
    return "is no resource of containers; use cpu, memory, ephemeral-storage or a name with a domain"


# --- security, probes --------------------------------------------------------------------------------------------


def _security(context: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            yield Cause(f"{path}.allowPrivilegeEscalation", "cannot be false for a privileged container")
        if "SYS_ADMIN" in {c.removeprefix("CAP_") for c in (context.get("capabilities") or {}).get("add") or ()}:
            yield Cause(f"{path}.allowPrivilegeEscalation", "cannot be false with the capability SYS_ADMIN")


def _probe(probe: Mapping[str, Any] | None, path: str, kind: str, container: Mapping[str, Any]) -> Iterator[Cause]:
    if probe is None:
        return
    yield from one_of(probe, path, HANDLERS, "handler")
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield Cause(f"{path}.successThreshold", "must be 1", NOT_SUPPORTED)
    if kind == "readinessProbe" and probe.get("terminationGracePeriodSeconds") is not None:
        yield Cause(f"{path}.terminationGracePeriodSeconds", "may not be set: nothing ends by this probe", FORBIDDEN)
    yield from _handler(probe, path, container)


def _handler(value: Mapping[str, Any], path: str, container: Mapping[str, Any]) -> Iterator[Cause]:
    """Validate the handler of a probe or hook."""
    if (command := value.get("exec")) is not None and not command.get("command"):
        yield Cause(f"{path}.exec.command", "is required", REQUIRED)
    for member in ("httpGet", "tcpSocket"):
        if (handler := value.get(member)) is not None:
            yield from _handler_port(handler.get("port"), f"{path}.{member}.port", container)
            if (host := handler.get("host")) and not _HOST.fullmatch(host):
                yield Cause(f"{path}.{member}.host", f"must be an address or a host name, not {show(host)}")
    http = value.get("httpGet") or {}
    if not _URL_PATH.fullmatch(http.get("path") or "/"):
        yield Cause(f"{path}.httpGet.path", f"must be a path without spaces, not {show(http['path'])}")
    for index, header in enumerate(http.get("httpHeaders") or ()):
        if not _HEADER_NAME.fullmatch(header["name"]):
            yield Cause(
                f"{path}.httpGet.httpHeaders[{index}].name", f"must be a header name, not {show(header['name'])}"
            )
        if _CONTROL.search(header["value"]):
            yield Cause(f"{path}.httpGet.httpHeaders[{index}].value", "must be one line of text")


def _handler_port(port: object, path: str, container: Mapping[str, Any]) -> Iterator[Cause]:
    if isinstance(port, int):
        if not 1 <= port <= 65535:
            yield Cause(path, f"must be between 1 and 65535, not {port}")
    elif isinstance(port, str):
        if problem := names.port_name(port):
            yield Cause(path, f'"{port}" {problem}')
        known = [str(entry["name"]) for entry in container.get("ports") or () if entry.get("name")]
        if not problem and port not in known:
            which = f"; its ports are {', '.join(known)}" if known else ""
            yield Cause(path, f'the container has no port named "{port}"{which}', NOT_FOUND)
