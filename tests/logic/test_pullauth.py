"""Which login is for which image. Source of the cases: kubernetes.io/docs/concepts/containers/images."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ktool.api.marks import PULL_SECRETS
from ktool.api.ref import Ref
from ktool.logic.node.nodeaction import EnsureImage
from ktool.logic.pod import pullauth


def auth(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def docker(name: str, auths: Any, key: str = ".dockerconfigjson") -> dict[str, Any]:
    text = json.dumps({"auths": auths} if key == ".dockerconfigjson" else auths)
    data = {key: base64.b64encode(text.encode()).decode()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data}


def ensure(image: str, secrets: list[dict[str, Any]], named: list[str], default: str | None = None) -> EnsureImage:
    notes = {} if default is None else {PULL_SECRETS: default}
    objects = {("Secret", "shop", one["metadata"]["name"]): one for one in secrets}
    objects["Namespace", "", "shop"] = {"kind": "Namespace", "metadata": {"name": "shop", "annotations": notes}}
    pod = {"metadata": {"namespace": "shop"}, "spec": {"imagePullSecrets": [{"name": name} for name in named]}}

    def lookup(ref: Ref) -> dict[str, Any] | None:
        return objects.get((ref.kind, ref.namespace, ref.name))

    return pullauth.keyring(pod, lookup).ensure(image, "Always")


@pytest.mark.parametrize(
    "pattern, image, fits",
    [
        ("quay.io", "quay.io/a/b:1", True),
        ("quay.io", "quay.io:443/a", False),
        ("quay.io/a", "quay.io/a/b:1", True),
        ("quay.io/b", "quay.io/a/b:1", False),
        ("*.kubernetes.io", "abc.kubernetes.io/x", True),
        ("*.kubernetes.io", "kubernetes.io/x", False),
        ("*.kubernetes.io", "a.b.kubernetes.io/x", False),
        ("*.*.kubernetes.io", "a.b.kubernetes.io/x", True),
        ("prefix.*.io", "prefix.kubernetes.io/x", True),
        ("*-good.kubernetes.io", "prefix-good.kubernetes.io/x", True),
        ("registry:5000", "registry:5000/x", True),
        ("index.docker.io", "docker.io/library/nginx:1", True),
        ("docker.io", "docker.io/me/app:1", True),
        ("docker.io", "quay.io/me/app:1", False),
    ],
)
def test_patterns(pattern: str, image: str, fits: bool) -> None:
    assert pullauth.matches(pattern, image) is fits


@pytest.mark.parametrize(
    "auths, image, users",
    [
        ({"https://index.docker.io/v1/": auth("a")}, "docker.io/library/nginx:1", ["a"]),
        ({"quay.io": auth("a"), "quay.io/team": auth("b")}, "quay.io/team/app:1", ["b", "a"]),
        ({"quay.io": {"username": "a", "password": "p"}}, "quay.io/app:1", ["a"]),
        ({"other.io": auth("a")}, "quay.io/app:1", []),
    ],
    ids=["docker hub", "the most special first", "user and password", "none"],
)
def test_logins(auths: Any, image: str, users: list[str]) -> None:
    found = ensure(image, [docker("s", auths)], ["s"])
    assert [login.username for login in found.logins] == users
    assert all(login.password is not None and login.secret == "s" for login in found.logins)


def test_the_older_form_and_a_token() -> None:
    old = docker("old", {"quay.io": auth("a", "p:w")}, ".dockercfg")
    (login,) = ensure("quay.io/x:1", [old], ["old"]).logins
    assert login.password is not None and login.password.reveal() == b"p:w"
    (login,) = ensure("quay.io/x:1", [docker("t", {"quay.io": {"identitytoken": "tok"}})], ["t"]).logins
    assert login.token is not None and login.token.reveal() == b"tok"


def test_the_default_of_a_namespace_is_for_pods_that_name_none() -> None:
    secrets = [docker("a", {"quay.io": auth("a")}), docker("b", {"quay.io": auth("b")})]
    assert [x.username for x in ensure("quay.io/x:1", secrets, [], "a, b").logins] == ["a", "b"]
    assert [x.username for x in ensure("quay.io/x:1", secrets, ["b"], "a").logins] == ["b"]


@pytest.mark.parametrize(
    "secrets, named, hint",
    [
        (
            [],
            [],
            "the pod has no imagePullSecrets and its namespace no ktool.dev/image-pull-secrets for registry quay.io",
        ),
        ([], ["no"], 'pull secret "no" not found in namespace shop'),
        ([docker("s", {"other": auth("a")})], ["s"], 'no pull secret ("s") has a login for registry quay.io'),
        ([docker("s", {"quay.io": auth("a")})], ["s"], 'registry quay.io refused the login of pull secret "s"'),
        (
            [docker("s", {"quay.io": {"auth": "%%"}})],
            ["s"],
            'pull secret "s" cannot be used: an auth in it is not user:password',
        ),
        (
            [{"kind": "Secret", "metadata": {"name": "s"}, "data": {"x": ""}}],
            ["s"],
            'pull secret "s" cannot be used: it has neither .dockerconfigjson nor .dockercfg; make it with type'
            " docker-registry",
        ),
        (
            [{"kind": "Secret", "metadata": {"name": "s"}, "unreadable": "key k1 is not here"}],
            ["s"],
            'pull secret "s" cannot be used: key k1 is not here',
        ),
    ],
    ids=["none", "missing", "for another", "refused", "broken", "another type", "unreadable"],
)
def test_what_is_said_when_the_registry_refuses(secrets: Any, named: list[str], hint: str) -> None:
    found = ensure("quay.io/x:1", secrets, named)
    assert found.hint == hint
    assert "pw" not in repr(found)
