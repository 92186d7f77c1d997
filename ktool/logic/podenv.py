"""The environment of a container: env, envFrom, the downward API and $(VAR) references, with core/v1's rules.

Source: the field documentation of core/v1 Container, EnvVar and EnvVarSource; pkg/kubelet makeEnvironmentVariables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktool.api import quantity
from ktool.api.obj import Obj, get, meta, name, namespace, uid
from ktool.api.ref import Ref

Lookup = Callable[[Ref], Obj | None]

_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """What keeps a container from being made until a person (or a ConfigMap yet to come) changes something: the
    message Kubernetes gives for CreateContainerConfigError."""


@dataclass(frozen=True)
class Scope:
    """What references of a pod may point at: the pod, its node and its addresses."""

    pod: Obj
    node: Obj
    ip: str
    lookup: Lookup

    @property
    def host_ip(self) -> str:
        for entry in get(self.node, "status", "addresses", default=()):
            if entry.get("type") == "InternalIP":
                return str(entry.get("address", ""))
        return ""

    @property
    def pod_ip(self) -> str:
        """The pod's own address; the node's for a pod of the host network."""
        return self.ip or self.host_ip


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with each $(VAR) replaced by its value. `$$` is a plain `$`; a reference to what is not defined stays
    as it is written (k8s.io/kubernetes/third_party/forked/golang/expansion)."""
    if "$" not in text:
        return text
    out: list[str] = []
    at = 0
    while at < len(text):
        here = text.find("$", at)
        if here < 0 or here + 1 >= len(text):
            break
        out.append(text[at:here])
        following = text[here + 1]
        if following == "$":
            out.append("$")
            at = here + 2
        elif following == "(" and (end := text.find(")", here + 2)) >= 0:
            reference = text[here + 2 : end]
            out.append(values.get(reference, f"$({reference})"))
            at = end + 1
        else:
            out.append("$(" if following == "(" else "$" + following)
            at = here + 2
    out.append(text[at:])
    return "".join(out)


def environment(container: Obj, scope: Scope) -> dict[str, str]:
    """The variables of a container. envFrom comes first and env overrides it; a value may refer to variables defined
    before it. Raises ConfigError where something that is not optional is missing."""
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        values.update(_from_source(source, scope))
    for entry in container.get("env") or ():
        if "valueFrom" in entry and not entry.get("value"):
            found = _value_from(entry["valueFrom"] or {}, container, scope)
            if found is not None:
                values[entry["name"]] = found
        else:
            values[entry["name"]] = expand(str(entry.get("value") or ""), values)
    return values


def arguments(words: Sequence[str] | None, values: Mapping[str, str]) -> list[str]:
    """command or args with their references expanded."""
    return [expand(str(word), values) for word in words or ()]


def _from_source(source: Obj, scope: Scope) -> dict[str, str]:
    reference = source.get("configMapRef")
    if reference is None:
        raise ConfigError("envFrom from a Secret is not supported yet; use a ConfigMap")
    config = scope.lookup(Ref("ConfigMap", namespace(scope.pod), reference.get("name", "")))
    if config is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'configmap "{reference.get("name", "")}" not found')
    prefix = source.get("prefix") or ""
    pairs = {prefix + key: str(value) for key, value in sorted((config.get("data") or {}).items())}
    return {key: value for key, value in pairs.items() if _NAME.fullmatch(key)}


def _value_from(source: Obj, container: Obj, scope: Scope) -> str | None:
    """The value a source gives; None where it is optional and absent, so that the variable is not set at all."""
    if (reference := source.get("configMapKeyRef")) is not None:
        return _config_value(reference, scope)
    if (reference := source.get("fieldRef")) is not None:
        return field_value(str(reference.get("fieldPath", "")), scope)
    if (reference := source.get("resourceFieldRef")) is not None:
        return resource_value(reference, container, scope)
    raise ConfigError(f"{next(iter(source), 'this source')} is not supported as a source of env yet")


def _config_value(reference: Obj, scope: Scope) -> str | None:
    space, wanted, key = namespace(scope.pod), reference.get("name", ""), reference.get("key", "")
    config = scope.lookup(Ref("ConfigMap", space, wanted))
    if config is not None and key in (config.get("data") or {}):
        return str(config["data"][key])
    if reference.get("optional"):
        return None
    if config is None:
        raise ConfigError(f'configmap "{wanted}" not found')
    raise ConfigError(f"couldn't find key {key} in ConfigMap {space}/{wanted}")


def field_value(path: str, scope: Scope) -> str:
    """A field of the pod for the downward API (core/v1 ObjectFieldSelector). Raises ConfigError for another one."""
    pod = scope.pod
    fields: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: name(pod),
        "metadata.namespace": lambda: namespace(pod),
        "metadata.uid": lambda: uid(pod),
        "spec.nodeName": lambda: name(scope.node),
        "spec.serviceAccountName": lambda: str(get(pod, "spec", "serviceAccountName", default="default")),
        "status.hostIP": lambda: scope.host_ip,
        "status.hostIPs": lambda: scope.host_ip,
        "status.podIP": lambda: scope.pod_ip,
        "status.podIPs": lambda: scope.pod_ip,
    }
    if path in fields:
        return fields[path]()
    if match := _SUBSCRIPT.fullmatch(path):
        found = meta(pod).get(match[1]) or {}
        return str(found.get(match[2], ""))
    raise ConfigError(f"unsupported fieldPath: {path}")


def resource_value(reference: Obj, container: Obj, scope: Scope) -> str:
    """A limit or request of a container in units of the divisor, rounded up (core/v1 ResourceFieldSelector). A limit
    that is not set is what the node can give."""
    wanted = reference.get("containerName") or container.get("name")
    everyone = [
        *get(scope.pod, "spec", "containers", default=()),
        *get(scope.pod, "spec", "initContainers", default=()),
    ]
    target = next((c for c in everyone if c.get("name") == wanted), None)
    if target is None:
        raise ConfigError(f"container {wanted} not found")
    group, _, resource = str(reference.get("resource", "")).partition(".")
    if group not in ("limits", "requests") or resource not in ("cpu", "memory", "ephemeral-storage"):
        raise ConfigError(f"unsupported container resource: {reference.get('resource', '')}")
    amount: Any = get(target, "resources", group, resource)
    if amount is None and group == "limits":
        amount = get(scope.node, "status", "allocatable", resource)
    divisor = quantity.value(reference.get("divisor") or "1") or quantity.value("1")
    share = quantity.value(amount or "0") / divisor
    return str(-((-share.numerator) // share.denominator))
