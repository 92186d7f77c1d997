"""Image pull credentials: from a pod's imagePullSecrets, or from the default of its namespace.

logic/pod/podplan and podspec call it. Kubernetes keeps such a default in ServiceAccounts, which ktool does not have:
here it is an annotation of the Namespace, a comma-separated list of Secrets. Logins are matched to images as by the
kubelet (kubernetes.io/docs/concepts/containers/images, "Interpretation of config.json";
pkg/credentialprovider/keyring.go).
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktool.api.marks import PULL_SECRETS
from ktool.api.masked import Masked, Unreadable, values
from ktool.api.obj import Obj, get, namespace
from ktool.api.ref import NAMESPACE, SECRET, Ref
from ktool.logic.node.nodeaction import Credential, EnsureImage
from ktool.logic.pod.podenv import Lookup
from ktool.logic.secrets.podrefs import pull_defaults

_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Keyring:
    """The logins a pod may use: (image pattern, login), the most specific pattern first. `named`: the Secrets referred
    to, `problems`: why some are unusable, `missing`: those that do not exist."""

    logins: tuple[tuple[str, Credential], ...] = ()
    named: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def ensure(self, image: str, policy: str) -> EnsureImage:
        """The EnsureImage action for an image with its full name."""
        fitting = tuple(dict.fromkeys(login for pattern, login in self.logins if matches(pattern, image)))
        return EnsureImage(image, policy, fitting, self.missing, self._hint(image, fitting))

    def _hint(self, image: str, fitting: tuple[Credential, ...]) -> str:
        """A possible reason why the registry refuses the image."""
        registry = image.partition("/")[0]
        if fitting:
            shown = " and ".join(dict.fromkeys(f'"{login.secret}"' for login in fitting))
            return f"registry {registry} refused the login of pull secret {shown}"
        if self.problems:
            return "; ".join(self.problems)
        if self.named:
            shown = ", ".join(f'"{each}"' for each in self.named)
            return f"no pull secret ({shown}) has a login for registry {registry}"
        return f"the pod has no imagePullSecrets and its namespace no {PULL_SECRETS} for registry {registry}"


def keyring(pod: Obj, lookup: Lookup) -> Keyring:
    """The logins of a pod with the Secrets of now."""
    space = namespace(pod)
    named = [str(entry.get("name") or "") for entry in get(pod, "spec", "imagePullSecrets", default=())]
    if not named:
        found = lookup(Ref(NAMESPACE, "", space))
        named = [] if found is None else pull_defaults(found)
    logins: list[tuple[str, Credential]] = []
    missing: list[str] = []
    problems: list[str] = []
    for own in dict.fromkeys(filter(None, named)):
        secret = lookup(Ref(SECRET, space, own))
        if secret is None:
            missing.append(own)
            problems.append(f'pull secret "{own}" not found in namespace {space}')
            continue
        try:
            logins += _logins(own, secret)
        except (ValueError, Unreadable) as error:
            problems.append(f'pull secret "{own}" cannot be used: {error}')
    logins.sort(key=lambda entry: entry[0], reverse=True)
    return Keyring(tuple(logins), tuple(named), tuple(missing), tuple(problems))


# --- Docker's files ----------------------------------------------------------------------------------------------


def _logins(own: str, secret: Obj) -> list[tuple[str, Credential]]:
    """The logins in a Secret of type dockerconfigjson or dockercfg. Raises ValueError for a malformed one, with none of
    its text in the message."""
    data = values(secret)
    if (text := data.get(".dockerconfigjson")) is not None:
        entries = _parsed(text).get("auths") or {}
    elif (text := data.get(".dockercfg")) is not None:
        entries = _parsed(text)
    else:
        raise ValueError("it has neither .dockerconfigjson nor .dockercfg; make it with type docker-registry")
    if not isinstance(entries, dict):
        raise ValueError("its logins are no JSON object")
    return [(_pattern(server), _credential(own, entry)) for server, entry in entries.items() if isinstance(entry, dict)]


def _parsed(text: Masked) -> dict[str, Any]:
    try:
        parsed = json.loads(text.reveal())
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ValueError("it is no JSON object")
    return parsed


def _credential(own: str, entry: Mapping[str, Any]) -> Credential:
    if token := entry.get("identitytoken"):
        return Credential(own, token=Masked(str(token).encode()))
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "").encode()
    if encoded := entry.get("auth"):
        try:
            name, colon, rest = base64.b64decode(str(encoded)).partition(b":")
        except binascii.Error:
            raise ValueError("an auth in it is no base64") from None
        if not colon:
            raise ValueError("an auth in it is not user:password")
        user, password = name.decode("utf-8", "replace"), rest.rstrip(b"\0")
    return Credential(own, user, Masked(password))


# --- which login for which image ---------------------------------------------------------------------------------


def _pattern(server: str) -> str:
    """A key of Docker's file, such as https://index.docker.io/v1/, as host[:port][/path]."""
    text = server.partition("://")[2] or server
    host, _, path = text.strip("/").partition("/")
    if path in ("v1", "v2") or path.startswith(("v1/", "v2/")):
        path = path[3:]
    return f"{host}/{path}" if path else host


def matches(pattern: str, image: str) -> bool:
    """Whether a login applies to an image: `*` matches at most one part of a host name, a path all images below it."""
    host, _, path = pattern.partition("/")
    image_host, _, image_path = image.partition("/")
    if image_host in _DOCKER_HUB and host in _DOCKER_HUB:
        image_host = host
    name, _, port = host.partition(":")
    image_name, _, image_port = image_host.partition(":")
    parts, image_parts = name.split("."), image_name.split(".")
    if len(parts) != len(image_parts) or port != image_port:
        return False
    if not all(fnmatch.fnmatchcase(own, part) for own, part in zip(image_parts, parts, strict=True)):
        return False
    return image_path.startswith(path)
