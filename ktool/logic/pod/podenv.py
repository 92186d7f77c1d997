"""Environment variables of a container: env, envFrom, the downward API and $(VAR) references, by core/v1's rules.

The renderers in logic/pod and `set env` call it. Values from Secrets, and values that refer to them, are kept apart and
masked: they must not be written to the node's disk (logic/pod/secretenv). Source: the field documentation of core/v1
Container, EnvVar and EnvVarSource; pkg/kubelet makeEnvironmentVariables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktool.api import masked
from ktool.api.masked import Masked, Unreadable
from ktool.api.obj import Obj, get, meta, name, namespace, uid
from ktool.api.pod import app_containers, init_containers
from ktool.api.ref import CONFIG_MAP, SECRET, Ref
from ktool.api.rules.containerrules import SUBSCRIPT
from ktool.api.units import quantity

Lookup = Callable[[Ref], Obj | None]

VARIABLE_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(Exception):
    """A container cannot be created until its configuration changes (by a person, or with a ConfigMap that is missing):
    Kubernetes' CreateContainerConfigError and its message."""


@dataclass(frozen=True)
class Scope:
    """The objects that a pod's references resolve against: the pod, its node and its addresses, ConfigMaps and
    Secrets."""

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
        """The pod's own address; the node's for a pod on the host network."""
        return self.ip or self.host_ip

    def config_map(self, wanted: str) -> Obj | None:
        return self.lookup(Ref(CONFIG_MAP, namespace(self.pod), wanted))

    def secret(self, wanted: str) -> tuple[Obj, dict[str, Masked]] | None:
        """A Secret and its decoded values. Raises ConfigError where they cannot be decrypted."""
        found = self.lookup(Ref(SECRET, namespace(self.pod), wanted))
        try:
            return None if found is None else (found, masked.values(found))
        except Unreadable as error:
            raise ConfigError(str(error)) from None


@dataclass
class Environment:
    """The variables of a container: `plain` ones, and `secret` ones, which must appear on no disk, in no argument and
    in no message. `sources`: the versions of the Secrets they come from, which stand for their content in a hash."""

    plain: dict[str, str] = field(default_factory=dict)
    secret: dict[str, Masked] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def put(self, variable: str, value: str | Masked) -> None:
        if isinstance(value, Masked):
            self.plain.pop(variable, None)
            self.secret[variable] = value
        else:
            self.secret.pop(variable, None)
            self.plain[variable] = value

    def expanded(self, text: str) -> str | Masked:
        """`text` with its references expanded; masked if it contains a secret variable."""
        shown = expand(text, self.plain)
        if not self.secret or "$(" not in text:
            return shown
        revealed = {key: value.reveal().decode("utf-8", "surrogateescape") for key, value in self.secret.items()}
        whole = expand(text, {**self.plain, **revealed})
        return shown if whole == shown else Masked(whole.encode("utf-8", "surrogateescape"))


def version(obj: Obj) -> str:
    """An id that differs for every content that an object of this name ever had."""
    return f"{uid(obj)}/{meta(obj).get('resourceVersion', '')}"


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with each $(VAR) expanded. `$$` is an escaped `$`; an undefined reference is left as it is
    (k8s.io/kubernetes/third_party/forked/golang/expansion)."""
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


def environment(container: Obj, scope: Scope) -> Environment:
    """The variables of a container. env overrides envFrom; a value may refer to variables defined before it. Raises
    ConfigError for a missing reference that is not optional."""
    found = Environment()
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for key, value in sorted(_from_source(source, scope, found).items()):
            if VARIABLE_NAME.fullmatch(prefix + key):
                found.put(prefix + key, value)
    for entry in container.get("env") or ():
        if "valueFrom" in entry and not entry.get("value"):
            given = _value_from(entry["valueFrom"] or {}, container, scope, found)
            if given is not None:
                found.put(entry["name"], given)
        else:
            found.put(entry["name"], found.expanded(str(entry.get("value") or "")))
    return found


def arguments(words: Sequence[str] | None, found: Environment, field_name: str) -> list[str]:
    """command or args with their references expanded. Raises ConfigError for a word with a secret in it: a command line
    is visible to everybody on the node, and Podman stores it on disk."""
    result = []
    for word in words or ():
        text = found.expanded(str(word))
        if isinstance(text, Masked):
            variable = next((each for each in sorted(found.secret) if f"$({each})" in word), "")
            raise ConfigError(
                f"{field_name} refer to $({variable}), which comes from a Secret and would stand in the node's"
                " process list and on its disk; have the program read the variable itself, as in"
                f" sh -c 'exec app \"${variable}\"'"
            )
        result.append(text)
    return result


def _from_source(source: Obj, scope: Scope, found: Environment) -> Mapping[str, str | Masked]:
    if (reference := source.get("secretRef")) is not None:
        wanted = str(reference.get("name", ""))
        secret = scope.secret(wanted)
        if secret is not None:
            found.sources.add(version(secret[0]))
            return {key: _without_nul(value, key, wanted, scope) for key, value in secret[1].items()}
        kind = "secret"
    else:
        reference = source.get("configMapRef") or {}
        wanted = str(reference.get("name", ""))
        config = scope.config_map(wanted)
        if config is not None:
            return {key: str(text) for key, text in (config.get("data") or {}).items()}
        kind = "configmap"
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{kind} "{wanted}" not found')


def _value_from(source: Obj, container: Obj, scope: Scope, found: Environment) -> str | Masked | None:
    """The value of a source; None where it is optional and absent, so that the variable is not set at all."""
    if (reference := source.get("configMapKeyRef")) is not None:
        return _config_value(reference, scope)
    if (reference := source.get("secretKeyRef")) is not None:
        return _secret_value(reference, scope, found)
    if (reference := source.get("fieldRef")) is not None:
        return field_value(str(reference.get("fieldPath", "")), scope)
    if (reference := source.get("resourceFieldRef")) is not None:
        return resource_value(reference, container, scope)
    raise ConfigError(f"{next(iter(source), 'this source')} is not supported as a source of env yet")


def _config_value(reference: Obj, scope: Scope) -> str | None:
    space, wanted, key = namespace(scope.pod), reference.get("name", ""), reference.get("key", "")
    config = scope.config_map(wanted)
    if config is not None and key in (config.get("data") or {}):
        return str(config["data"][key])
    if reference.get("optional"):
        return None
    if config is None:
        raise ConfigError(f'configmap "{wanted}" not found')
    raise ConfigError(f"couldn't find key {key} in ConfigMap {space}/{wanted}")


def _secret_value(reference: Obj, scope: Scope, found: Environment) -> Masked | None:
    wanted, key = str(reference.get("name", "")), str(reference.get("key", ""))
    secret = scope.secret(wanted)
    if secret is not None and key in secret[1]:
        found.sources.add(version(secret[0]))
        return _without_nul(secret[1][key], key, wanted, scope)
    if reference.get("optional"):
        return None
    if secret is None:
        raise ConfigError(f'secret "{wanted}" not found')
    raise ConfigError(f"couldn't find key {key} in Secret {namespace(scope.pod)}/{wanted}")


def _without_nul(value: Masked, key: str, secret: str, scope: Scope) -> Masked:
    if b"\0" in value.reveal():
        where = f"key {key} in Secret {namespace(scope.pod)}/{secret}"
        raise ConfigError(f"{where} holds a NUL byte, which no environment variable can; mount it as a file")
    return value


def field_value(path: str, scope: Scope) -> str:
    """A field of the pod for the downward API (core/v1 ObjectFieldSelector). Raises ConfigError for an unsupported
    one."""
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
    if match := SUBSCRIPT.fullmatch(path):
        found = meta(pod).get(match[1]) or {}
        return str(found.get(match[2], ""))
    raise ConfigError(f"unsupported fieldPath: {path}")


def resource_value(reference: Obj, container: Obj, scope: Scope) -> str:
    """A limit or request of a container in units of the divisor, rounded up (core/v1 ResourceFieldSelector). An absent
    limit is the node's allocatable amount."""
    wanted = reference.get("containerName") or container.get("name")
    everyone = [
        *app_containers(scope.pod),
        *init_containers(scope.pod),
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
