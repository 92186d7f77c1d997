"""Secret rules: the keys each type requires, the size limit, and redaction.

kinds/secret, kinds/configmap, kinds/sealedsecret and the secret commands call it. Source: pkg/apis/core/validation
ValidateSecret; kubernetes.io/docs/concepts/configuration/secret.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from ktool.api.errors import Cause
from ktool.api.marks import LAST_APPLIED
from ktool.api.masked import MASK
from ktool.api.obj import Obj, annotations_of, put
from ktool.api.rules import names

SIZE_LIMIT = 1024 * 1024

OPAQUE = "Opaque"
TLS = "kubernetes.io/tls"
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
DOCKER_CFG = "kubernetes.io/dockercfg"
BASIC_AUTH = "kubernetes.io/basic-auth"
SSH_AUTH = "kubernetes.io/ssh-auth"
SERVICE_ACCOUNT = "kubernetes.io/service-account-token"

REQUIRED_KEYS: dict[str, tuple[str, ...]] = {
    TLS: ("tls.crt", "tls.key"),
    DOCKER_CONFIG: (".dockerconfigjson",),
    DOCKER_CFG: (".dockercfg",),
    SSH_AUTH: ("ssh-privatekey",),
}
_ACCOUNT = "kubernetes.io/service-account.name"


# --- what it means -----------------------------------------------------------------------------------------------


def absorbed(secret: Obj) -> Obj:
    """The Secret with stringData merged into data, as in Kubernetes: stringData wins and is never stored. A malformed
    value is left for validation to report."""
    plain = secret.get("stringData")
    if "stringData" not in secret or not (plain is None or _is_text_map(plain)):
        return secret
    data = secret.get("data") or {}
    if not isinstance(data, dict):
        return secret
    rest = {key: value for key, value in secret.items() if key != "stringData"}
    if not plain:
        return rest
    return {**rest, "data": {**data, **{key: _encoded(text or "") for key, text in plain.items()}}}


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(text is None or isinstance(text, str) for text in value.values())


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def canonical(data: Mapping[str, str]) -> dict[str, str]:
    """The base64 texts in canonical form, as Kubernetes returns them: without the line breaks that some tools
    insert."""
    return {key: "".join(text.split()) for key, text in data.items()}


# --- what may be said --------------------------------------------------------------------------------------------


def redacted(secret: Obj) -> Obj:
    """The Secret without its values, for annotations, differences and messages. The keys stay, so that a merge can
    still tell what was removed."""
    hidden = dict(secret)
    for member in ("data", "stringData"):
        if member in secret:
            found = secret[member]
            hidden[member] = dict.fromkeys(found, MASK) if isinstance(found, dict) else MASK
    return without_copies(hidden)


def without_copies(secret: Obj) -> Obj:
    """The Secret with the values removed from kubectl's last-applied annotation, which has the whole manifest."""
    text = annotations_of(secret).get(LAST_APPLIED)
    if not isinstance(text, str):
        return secret
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        manifest = {}
    if not isinstance(manifest, dict):
        manifest = {}
    kept = json.dumps(redacted(manifest), sort_keys=True, separators=(",", ":")) + "\n"
    return secret if kept == text else put(secret, "metadata", "annotations", LAST_APPLIED, kept)


# --- validation --------------------------------------------------------------------------------------------------


def causes(secret: Obj, old: Obj | None) -> list[Cause]:
    """Validate a Secret that has its defaults; no message holds a value."""
    data = secret.get("data") or {}
    found = [Cause(f"data[{key}]", f"the key {problem}") for key in data if (problem := names.config_key(key))]
    decoded = {key: base64.b64decode(text) for key, text in data.items()}
    size = sum(map(len, decoded.values()))
    if size > SIZE_LIMIT:
        found.append(Cause("data", f"must be no more than {SIZE_LIMIT} bytes, not {size}", "FieldValueTooLong"))
    found += _of_type(secret, decoded)
    return found + (_changes(secret, old) if old is not None else [])


def _of_type(secret: Obj, data: Mapping[str, bytes]) -> list[Cause]:
    kind = secret.get("type") or OPAQUE
    needed = REQUIRED_KEYS.get(kind, ())
    required = f"is required for the type {kind}"
    missing = [key for key in needed if key not in data or (kind == SSH_AUTH and not data[key])]
    found = [Cause(f"data[{key}]", required, "FieldValueRequired") for key in missing]
    if kind == BASIC_AUTH and not {"username", "password"} & data.keys():
        message = f"this or data[password] is required for the type {kind}"
        found.append(Cause("data[username]", message, "FieldValueRequired"))
    if kind == SERVICE_ACCOUNT and not annotations_of(secret).get(_ACCOUNT):
        found.append(Cause(f"metadata.annotations[{_ACCOUNT}]", required, "FieldValueRequired"))
    for key in (".dockerconfigjson", ".dockercfg"):
        if key in needed and key in data and (problem := _docker_problem(data[key], nested=key == ".dockerconfigjson")):
            found.append(Cause(f"data[{key}]", problem))
    return found


def _docker_problem(text: bytes, nested: bool) -> str:
    """Why Docker's file of registry credentials is invalid; "" for a valid one."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return "must be the JSON of a Docker config file"
    auths = parsed.get("auths", {}) if nested and isinstance(parsed, dict) else parsed
    if not isinstance(parsed, dict) or not isinstance(auths, dict):
        return "must be the JSON of a Docker config file: an object" + (" with `auths`" if nested else "")
    return ""


def _changes(secret: Obj, old: Obj) -> list[Cause]:
    found = []
    if (secret.get("type") or OPAQUE) != (old.get("type") or OPAQUE):
        message = "field is immutable; delete the Secret and create it anew"
        found.append(Cause("type", message))
    if not old.get("immutable"):
        return found
    message = "field is immutable when `immutable` is set"
    if (secret.get("data") or {}) != (old.get("data") or {}):
        found.append(Cause("data", message, "FieldValueForbidden"))
    if not secret.get("immutable"):
        found.append(Cause("immutable", message, "FieldValueForbidden"))
    return found
