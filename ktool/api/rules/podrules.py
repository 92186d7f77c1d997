"""Validation of a core/v1 PodSpec beyond its schema: rules between fields. kinds/pod and shapes/workload call it.

Every value has passed `schema.check` before. Source: the field documentation of core/v1, and pkg/apis/core/validation
for what it leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ktool.api.errors import Cause
from ktool.api.marks import DRAIN_SECONDS
from ktool.api.pod import CONTAINER_GROUPS, is_sidecar
from ktool.api.rules import names
from ktool.api.rules.containerrules import (
    DUPLICATE,
    FORBIDDEN,
    PROBES,
    REQUIRED,
    container_causes,
    resource_causes,
)
from ktool.api.rules.placementrules import placement_causes
from ktool.api.rules.volumerules import volume_causes

LONGEST_DRAIN = 3600

_RESOLVER_WORD = re.compile(r"[-A-Za-z0-9_.]{1,255}")


def validate_pod_spec(spec: Mapping[str, Any], path: str = "spec") -> list[Cause]:
    """Validate a PodSpec and return all errors that its schema does not catch."""
    causes: list[Cause] = []
    volumes: dict[str, str] = {}
    for index, volume in enumerate(spec.get("volumes") or ()):
        causes += volume_causes(volume, f"{path}.volumes[{index}]", volumes)
    causes += _containers(spec, path, volumes)
    causes += _host_ports(spec, path)
    causes += _names(spec, path)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        causes += _host_alias(alias, f"{path}.hostAliases[{index}]")
    causes += placement_causes(spec, path)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        causes.append(Cause(f"{path}.dnsConfig.nameservers", "is required with dnsPolicy None", REQUIRED))
    causes += _dns_config(spec.get("dnsConfig") or {}, f"{path}.dnsConfig")
    if resources := spec.get("resources"):
        causes += resource_causes(resources, f"{path}.resources")
    return causes


def pod_annotation_causes(annotations: Mapping[str, str], path: str) -> list[Cause]:
    """Validate those annotations of a pod that ktool acts on. `path` is the field that holds the annotations."""
    text = annotations.get(DRAIN_SECONDS)
    if text is None or (text.isdecimal() and text.isascii() and int(text) <= LONGEST_DRAIN):
        return []
    message = f'must be a whole number of seconds from 0 to {LONGEST_DRAIN}, in quotes, not "{text}"'
    return [Cause(f"{path}[{DRAIN_SECONDS}]", message)]


# --- containers --------------------------------------------------------------------------------------------------


def _containers(spec: Mapping[str, Any], path: str, volumes: Mapping[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    host_network = bool(spec.get("hostNetwork"))
    if not spec.get("containers"):
        causes.append(Cause(f"{path}.containers", "must have at least one container", REQUIRED))
    for member in (*CONTAINER_GROUPS, "ephemeralContainers"):
        for index, container in enumerate(spec.get(member) or ()):
            here = f"{path}.{member}[{index}]"
            name = container["name"]
            if problem := names.dns_label(name):
                causes.append(Cause(f"{here}.name", f'"{name}" {problem}'))
            if name in seen:
                causes.append(Cause(f"{here}.name", f'two containers are named "{name}"', DUPLICATE))
            seen.add(name)
            causes += container_causes(container, here, volumes=volumes, host_network=host_network)
            if member == "initContainers":
                causes += _init_only(container, here)
            elif container.get("restartPolicy"):
                message = "may be set on init containers only; the pod's own stands in spec.restartPolicy"
                causes.append(Cause(f"{here}.restartPolicy", message, FORBIDDEN))
    return causes


def _init_only(container: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if is_sidecar(container):
        return
    if policy := container.get("restartPolicy"):
        message = f'must be "Always", which makes it a sidecar, or absent; not "{policy}"'
        yield Cause(f"{path}.restartPolicy", message, "FieldValueNotSupported")
    for member in (*PROBES, "lifecycle"):
        if container.get(member):
            yield Cause(f"{path}.{member}", "may not be set on an init container that runs to its end", FORBIDDEN)


def _host_ports(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    seen: set[tuple[int, str, str]] = set()
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            host_port = port.get("hostPort")
            if not host_port:
                continue
            claim = (host_port, port.get("protocol", "TCP"), port.get("hostIP", ""))
            if claim in seen:
                here = f"{path}.containers[{index}].ports[{number}].hostPort"
                yield Cause(here, f"{host_port}/{claim[1]} is taken by another port of the pod", DUPLICATE)
            seen.add(claim)


# --- names -------------------------------------------------------------------------------------------------------


def _names(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for member, rule in (
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
        ("nodeName", names.dns_subdomain),
        ("serviceAccountName", names.dns_subdomain),
        ("priorityClassName", names.dns_subdomain),
        ("runtimeClassName", names.dns_subdomain),
    ):
        if (value := spec.get(member)) and (problem := rule(value)):
            yield Cause(f"{path}.{member}", f'"{value}" {problem}')


def _dns_config(config: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """resolv.conf(5) is lines of words, and glibc reads three servers."""
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if len(servers) > 3:
        yield Cause(f"{path}.nameservers", "must be no more than 3")
    if len(searches) > 32 or len(" ".join(searches)) > 2048:
        yield Cause(f"{path}.searches", "must be no more than 32, and 2048 characters together")
    for index, server in enumerate(servers):
        if problem := names.ip(server):
            yield Cause(f"{path}.nameservers[{index}]", f'"{server}" {problem}')
    for index, search in enumerate(searches):
        if search != "." and (problem := names.dns_subdomain(search.removesuffix(".").replace("_", "-"))):
            yield Cause(f"{path}.searches[{index}]", f'"{search}" {problem}')
    for index, option in enumerate(config.get("options") or ()):
        for member in ("name", "value"):
            if not _RESOLVER_WORD.fullmatch(option.get(member) or "x"):
                message = f"{option[member]!r} must be letters, digits, '-', '_' and '.'"
                yield Cause(f"{path}.options[{index}].{member}", message)


def _host_alias(alias: Mapping[str, Any], path: str) -> Iterator[Cause]:
    address = alias.get("ip", "")
    if problem := names.ip(address):
        yield Cause(f"{path}.ip", f'"{address}" {problem}')
    for index, hostname in enumerate(alias.get("hostnames") or ()):
        if problem := names.dns_subdomain(hostname):
            yield Cause(f"{path}.hostnames[{index}]", f'"{hostname}" {problem}')
