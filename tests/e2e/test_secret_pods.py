"""Secrets from a manifest to the pod: what pods see, what users are told, and all the places where no value may be."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, serving, until
from tests.e2e.support import container, documents, pod, ready, script, status_of

pytestmark = pytest.mark.podman

PRIVATE = "private.lab/web:v1"


def secret(name: str, **texts: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


def docker(name: str, user: str, password: str) -> dict[str, Any]:
    text = json.dumps({"auths": {"private.lab": {"username": user, "password": password}}})
    return {**secret(name, **{".dockerconfigjson": text}), "type": "kubernetes.io/dockerconfigjson"}


def from_key(variable: str, name: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def password_of(lab: Lab) -> str:
    return Path(lab.password_file).read_text().strip()


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
        show = "cat /files/word; echo; cat /one; echo; cat /many/word; echo; cat /many/n; echo; echo $WORD"
        assert shell("files", show) == ["one", "one", "one", "files", "one"]
        assert shell("files", "stat -L -c %a /files/word") == ["400"]
        apply(secret("db", word="two"))
        until(lambda: shell("files", "cat /files/word") == ["two"], 10)
        assert shell("files", show) == ["two", "one", "two", "files", "one"]
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
    own = pod("own", {**container("main"), **always}, imagePullSecrets=[{"name": "right"}])
    cluster("apply", *space, "-f", "-", stdin=documents(docker("right", "lab", password), own))
    default = {"metadata": {"name": namespace, "annotations": {"ktool.dev/image-pull-secrets": "right"}}}
    by_default = pod("default", {**container("main"), **always})
    cluster("apply", "-f", "-", stdin=documents({"apiVersion": "v1", "kind": "Namespace", **default}))
    cluster("apply", *space, "-f", "-", stdin=documents(by_default))
    assert all(ready(cluster.json("get", "pod", name, *space)) for name in ("own", "default"))


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


# --- where no value may be ---------------------------------------------------------------------------------------


def needles(*texts: str) -> list[bytes]:
    """Each text as it is, and as it stands in base64 at any offset."""
    found = []
    for text in texts:
        raw = text.encode()
        found.append(raw)
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + raw)
            found.append(encoded[4 if before else 0 : -4])
    return found


class Watch:
    """Looks at the arguments and the environment of every process of this machine, whose nodes' processes are among
    them, again and again. What runs in a pod may know the secret; this process has made it up."""

    def __init__(self, wanted: list[bytes]) -> None:
        self.wanted, self.found, self.rounds, self.processes = wanted, set[str](), 0, set[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.rounds += 1
            for entry in os.scandir("/proc"):
                if entry.name.isdigit() and entry.name != str(os.getpid()):
                    self._look(entry.path)

    def _look(self, process: str) -> None:
        for file in ("cmdline", "environ"):
            try:
                data = Path(process, file).read_bytes()
                if file == "cmdline":
                    self.processes.add(data.partition(b"\0")[0].rpartition(b"/")[2].decode(errors="replace"))
                if any(word in data for word in self.wanted) and not _is_in_a_pod(process):
                    self.found.add(f"{file} of {Path(process, 'cmdline').read_bytes()!r}")
            except OSError:  # it has ended
                return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _is_in_a_pod(process: str) -> bool:
    """Whether it is in a container's cgroup; conmon, which serves a container from outside, has one of its own."""
    groups = Path(process, "cgroup").read_text()
    return "/libpod-" in groups and "/libpod-conmon-" not in groups


def holding(directory: Path, wanted: list[bytes]) -> list[str]:
    """Files below a directory that hold one of the words."""
    patterns = b"\n".join(wanted)
    argv = ["grep", "-rlaF", "-f", "-", str(directory)]
    done = subprocess.run(argv, input=patterns, capture_output=True, timeout=120)
    return done.stdout.decode().splitlines()


BREAK = """
import sys
from ktool.node import execute
def broken(hands, action):
    raise RuntimeError(f"forced failure of {action!r}")
execute.perform = broken
from ktool.cli.main import main
sys.argv[0] = "ktool"
main()
"""


@contextmanager
def logged_server(ktool: Ktool, log: Path) -> Iterator[None]:
    """`ktool serve` that says all it can, into a file."""
    with open(log, "wb") as file:
        command = [sys.executable, "-m", "ktool", "serve", "--debug"]
        process = subprocess.Popen(command, env=ktool.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        until(lambda: ktool("get", "nodes", status=None).returncode == 0 and (ktool.home / "ktool.sock").exists())
        yield
    finally:
        process.terminate()
        process.wait(40)


def test_a_secret_is_nowhere_but_in_its_pods(cluster: Ktool, namespace: str, lab: Lab, tmp_path: Path) -> None:
    canary, newer, password = f"canary-{uuid.uuid4().hex}", f"newer-{uuid.uuid4().hex}", password_of(lab)
    wanted, space = needles(canary, newer, password), ("-n", namespace)
    env = [from_key("WORD", "db", "word"), {"name": "URL", "value": "db://$(WORD)@host"}]
    main = script(
        "main",
        "test -n \"$WORD\" && cat /db/word >/dev/null; trap 'exit 0' TERM; while :; do sleep 0.2; done",
        image=PRIVATE,
        imagePullPolicy="Always",
        env=env,
        volumeMounts=[{"name": "db", "mountPath": "/db"}],
    )
    volumes = [{"name": "db", "secret": {"secretName": "db"}}]
    spec = {"volumes": volumes, "imagePullSecrets": [{"name": "pull"}]}
    pods = [pod(f"p{number}", main, nodeName=node.name, **spec) for number, node in enumerate(lab.nodes)]
    said: list[str] = []

    def run(*words: str, **more: Any) -> str:
        done = cluster(words[0], "--debug", *words[1:], **more)
        said.append(done.stdout + done.stderr)
        return done.stdout

    with Watch(wanted) as watch:
        objects = [secret("db", word=canary), docker("pull", "lab", password), *pods]
        run("apply", *space, "-f", "-", stdin=documents(*objects))
        assert run("exec", "p0", *space, "--", "sh", "-c", 'echo "$WORD $URL"; cat /db/word').split() == [
            canary,
            f"db://{canary}@host",
            canary,
        ]
        said.pop()
        with logged_server(cluster, tmp_path / "serve.log"):
            run("apply", *space, "-f", "-", stdin=documents(secret("db", word=newer)))
            until(lambda: cluster("exec", "p1", *space, "--", "cat", "/db/word").stdout == newer)
            run("apply", *space, "-f", "-", stdin=documents(secret("db", word=newer, more="x")))
            for words in (("events", "-A"), ("get", "pods", *space, "-o", "yaml"), ("get", "secrets", *space)):
                run(*words)
            run("describe", "secret", "db", *space)
            run("describe", "pod", "p0", *space)
            run("delete", "pod", "p2", *space)
        # A failure of every action for a pod, with the whole action in its message.
        forced = pod("forced", main, nodeName=lab.nodes[0].name, **spec)
        argv = [sys.executable, "-c", BREAK, "apply", *space, "--timeout=3s", "-f", "-"]
        broken = subprocess.run(
            argv, env=cluster.env, input=documents(forced).encode(), capture_output=True, timeout=60
        )
        said.append((broken.stdout + broken.stderr).decode())
    assert watch.rounds > 20 and {"conmon", "podman"} <= watch.processes
    assert not watch.found
    log = (cluster.home / "crash.log").read_text()
    assert "forced failure of EnsureImage" in log and "Traceback" in log
    (cluster.home / "crash.log").unlink()
    (tmp_path / "said.log").write_text("\n".join(said) + log)
    assert (tmp_path / "serve.log").stat().st_size > 0
    assert holding(tmp_path, wanted) == []
    assert holding(cluster.home, wanted) == []
    for node in lab.nodes:
        disks = Path(node.identity).parent / node.name.rpartition("-")[2]
        assert (disks / "containers" / "storage").is_dir()
        assert holding(disks, wanted) == []
