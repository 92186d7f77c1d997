"""Syntax rules for names, labels, addresses and paths, for the validation of all kinds.

Each rule returns "" for a valid text, else the complaint, to be put after the name of the field. api/shapes, kinds/ and
commands call them. Sources: kubernetes.io/docs/concepts/overview/working-with-objects/names and .../labels; RFC 1123;
RFC 6335.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ktool.api.errors import Cause

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_ENV = re.compile(r"[^=\x00-\x1f\x7f]+")
_PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

ANNOTATIONS_LIMIT = 256 * 1024


@lru_cache(maxsize=8192)
def dns_label(text: str) -> str:
    """RFC 1123 label: names of containers, volumes, namespaces, services."""
    if len(text) > 63:
        return "must be no more than 63 characters"
    if not _LABEL.fullmatch(text):
        return "must be lower case letters, digits and '-', and begin and end with a letter or digit"
    return ""


@lru_cache(maxsize=8192)
def dns_subdomain(text: str) -> str:
    """RFC 1123 subdomain: the names of most objects."""
    if len(text) > 253:
        return "must be no more than 253 characters"
    if not _SUBDOMAIN.fullmatch(text):
        return "must be lower case letters, digits, '-' and '.', and begin and end with a letter or digit"
    return ""


@lru_cache(maxsize=8192)
def label_key(text: str) -> str:
    """A qualified name: `app`, `example.com/team`. Annotations, finalizers and condition types follow the same rule."""
    prefix, slash, key = text.rpartition("/")
    if slash and (not prefix or "/" in prefix or dns_subdomain(prefix)):
        return "must have a DNS name before its '/', such as example.com/name"
    if len(key) > 63 or not _QUALIFIED.fullmatch(key):
        return (
            "must be no more than 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit, "
            "optionally after a DNS name and '/'"
        )
    return ""


@lru_cache(maxsize=8192)
def label_value(text: str) -> str:
    if text and (len(text) > 63 or not _QUALIFIED.fullmatch(text)):
        return (
            "must be empty or no more than 63 letters, digits, '-', '_' and '.', and begin and end with a letter or "
            "digit"
        )
    return ""


def env_name(text: str) -> str:
    """An environment variable's name: anything Linux can pass to a process (Kubernetes since 1.30 demands no more)."""
    return "" if _ENV.fullmatch(text) else "must be printable characters without '='"


def port_name(text: str) -> str:
    """RFC 6335 service name: at most 15 characters, at least one letter, no doubled hyphen."""
    if len(text) > 15:
        return "must be no more than 15 characters"
    if not _PORT_NAME.fullmatch(text) or not any(c.isalpha() for c in text):
        return "must be lower case letters, digits and single '-', with at least one letter"
    return ""


def config_key(text: str) -> str:
    """A key of a ConfigMap or Secret. It must be a valid file name."""
    if len(text) > 253:
        return "must be no more than 253 characters"
    if text in (".", "..") or text.startswith(".."):
        return "must not begin with '..' or be '.'"
    return "" if _CONFIG_KEY.fullmatch(text) else "must be letters, digits, '-', '_' and '.'"


def ip(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be an IP address, such as 10.9.8.7"
    return ""


def subnet(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "must be a subnet, such as 10.244.1.0/24"
    return ""


def absolute_path(text: str) -> str:
    """An absolute path on a node or in a container, without `..`."""
    if not text.startswith("/"):
        return "must be an absolute path"
    return "must not hold '..'" if ".." in text.split("/") else ""


def relative_path(text: str) -> str:
    """A path inside a volume."""
    if text.startswith("/"):
        return "must be a relative path"
    return "must not hold '..'" if ".." in text.split("/") else ""


# --- metadata ----------------------------------------------------------------------------------------------------


def label_causes(labels: Mapping[str, str], path: str) -> list[Cause]:
    causes = []
    for key, value in labels.items():
        if problem := label_key(key):
            causes.append(Cause(path, f'the key "{key}" {problem}'))
        if problem := label_value(value):
            causes.append(Cause(f"{path}[{key}]", f'"{value}" {problem}'))
    return causes


def annotation_causes(annotations: Mapping[str, str], path: str) -> list[Cause]:
    causes = [Cause(path, f'the key "{key}" {problem}') for key in annotations if (problem := label_key(key.lower()))]
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        causes.append(Cause(path, f"must be no more than {ANNOTATIONS_LIMIT} bytes together", "FieldValueTooLong"))
    return causes


def meta_causes(
    meta: Mapping[str, Any], *, namespaced: bool, name: Callable[[str], str] = dns_subdomain, path: str = "metadata"
) -> list[Cause]:
    """Validate an ObjectMeta; `name` is the rule for names of that kind. The namespace must be empty for a
    cluster-scoped kind and filled in already for a namespaced one."""
    causes = []
    if not meta.get("name"):
        causes.append(Cause(f"{path}.name", "is required", "FieldValueRequired"))
    elif problem := name(meta["name"]):
        causes.append(Cause(f"{path}.name", f'"{meta["name"]}" {problem}'))
    if namespaced:
        if not meta.get("namespace"):
            causes.append(Cause(f"{path}.namespace", "is required", "FieldValueRequired"))
        elif problem := dns_label(meta["namespace"]):
            causes.append(Cause(f"{path}.namespace", f'"{meta["namespace"]}" {problem}'))
    elif meta.get("namespace"):
        causes.append(Cause(f"{path}.namespace", "not allowed on this type", "FieldValueForbidden"))
    if labels := meta.get("labels"):
        causes += label_causes(labels, f"{path}.labels")
    if annotations := meta.get("annotations"):
        causes += annotation_causes(annotations, f"{path}.annotations")
    for index, finalizer in enumerate(meta.get("finalizers") or ()):
        if problem := label_key(finalizer):
            causes.append(Cause(f"{path}.finalizers[{index}]", f'"{finalizer}" {problem}'))
    return causes
