"""Secrets as pods see them, and what users are told where one is missing."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, serving, until
from tests.e2e.secretobjects import PRIVATE, docker, from_key, password_of, secret
from tests.e2e.support import container, documents, pod, ready, status_of

pytestmark = pytest.mark.podman


def waiting(one: Any) -> dict[str, Any]:
    return dict(status_of(one, "main").get("state", {}).get("waiting", {}))


# --- what pods see -----------------------------------------------------------------------------------------------


def test_pods_follow_their_secrets(cluster: Ktool, namespace: str) -> None:
    """Missing ones hold a pod back with Kubernetes' words; changed ones reach volumes, but no subPath."""
    space = ("-n", namespace)

    def apply(*objects: Any) -> None:
        cluster("apply", *space, "-f", "-", stdin=documents(*objects))

    def found(name: str) -> Any:
        return cluster.json("get", "pod", name, *space)

    def shell(name: str, text: str) -> list[str]:
        return cluster("exec", name, *space, "--", "sh", "-c", text).stdout.split()

    sources = [
        {"secret": {"name": "db"}},
        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    mounts = [
        {"name": "files", "mountPath": "/files"},
        {"name": "files", "mountPath": "/one", "subPath": "word"},
        {"name": "many", "mountPath": "/many"},
    ]
    volumes = [
        {"name": "files", "secret": {"secretName": "db", "defaultMode": 0o400}},
        {"name": "many", "projected": {"sources": sources}},
    ]
    main = container("main", volumeMounts=mounts, env=[from_key("WORD", "db", "word")])
    with serving(cluster):
        apply(
            pod("files", main, volumes=volumes), pod("env", container("main", envFrom=[{"secretRef": {"name": "db"}}]))
        )
        env = until(lambda: (one := found("env")) and waiting(one).get("message") and one)
        assert waiting(env) == {"reason": "CreateContainerConfigError", "message": 'secret "db" not found'}
        late = until(lambda: (one := found("files")) and waiting(one).get("message") and one)
        assert 'MountVolume.SetUp failed for volume "files" : secret "db" not found' in waiting(late)["message"]
        told = until(lambda: "FailedMount" in (text := cluster("events", *space).stdout) and text)
        assert 'Error: secret "db" not found' in told
        apply(secret("db", word="one"))
        until(lambda: ready(found("files")) and ready(found("env")), 20)
        assert shell("env", "echo $word") == ["one"]
        show = (
            "for file in /files/word /one /many/word /many/n; do cat $file; echo; done;"
            " tr '\\0' '\\n' </proc/1/environ | grep ^WORD="
        )
        assert shell("files", show) == ["one", "one", "one", "files", "WORD=one"]
        assert shell("files", "stat -L -c %a /files/word") == ["400"]
        apply(secret("db", word="two"))
        until(lambda: shell("files", "cat /files/word") == ["two"], 10)
        assert shell("files", show) == ["two", "one", "two", "files", "WORD=one"]
        described = cluster("describe", "pod", "files", *space).stdout
    assert "<set to the key 'word' in secret 'db'>  Optional: false" in described


def test_pulls_with_a_login(cluster: Ktool, namespace: str, lab: Lab) -> None:
    """From the pod's own secrets or its namespace's default; without a login the message says what is missing."""
    space, password = ("-n", namespace), password_of(lab)
    always = {"image": PRIVATE, "imagePullPolicy": "Always"}
    plain = pod("plain", {**container("main"), **always})
    refused = cluster("apply", *space, "-f", "-", stdin=documents(plain), status=1).stderr
    assert "ErrImagePull" in refused or "ImagePullBackOff" in refused
    assert "the pod has no imagePullSecrets and its namespace no ktool.dev/image-pull-secrets" in refused
    wrong = pod("wrong", {**container("main"), **always}, imagePullSecrets=[{"name": "wrong"}, {"name": "absent"}])
    objects = documents(docker("wrong", "lab", "not-it"), wrong)
    refused = cluster("apply", *space, "-f", "-", stdin=objects, status=1).stderr
    assert 'registry private.lab refused the login of pull secret "wrong"' in refused
    told = cluster("describe", "pod", "wrong", *space).stdout
    assert "FailedToRetrieveImagePullSecret" in told and "(absent)" in told
    # Other logins are tried at once, whatever back-off the pull is in.
    cluster("apply", *space, "-f", "-", stdin=documents(docker("wrong", "lab", password)))
    default = {"metadata": {"name": namespace, "annotations": {"ktool.dev/image-pull-secrets": "wrong"}}}
    by_default = pod("default", {**container("main"), **always})
    cluster("apply", "-f", "-", stdin=documents({"apiVersion": "v1", "kind": "Namespace", **default}))
    cluster("apply", *space, "-f", "-", stdin=documents(by_default))
    assert all(ready(cluster.json("get", "pod", name, *space)) for name in ("wrong", "default"))


@pytest.mark.parametrize(
    "source, message",
    [
        ({"serviceAccountToken": {"path": "t"}}, "ktool has no service accounts"),
        ({"secret": {"items": []}}, "spec.volumes[0].projected.sources[0].secret.name: is required"),
    ],
)
def test_sources_that_cannot_be(cluster: Ktool, namespace: str, source: Any, message: str) -> None:
    bad = pod("bad", container("main"), volumes=[{"name": "v", "projected": {"sources": [source]}}])
    assert message in cluster("apply", "-n", namespace, "-f", "-", stdin=documents(bad), status=1).stderr
