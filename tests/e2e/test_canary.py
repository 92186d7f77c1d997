"""One canary, stored as a Secret and used by running pods, is looked for in every place where it must not be."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool, until
from tests.e2e.secretobjects import PRIVATE, docker, from_key, password_of, secret
from tests.e2e.support import documents, pod, script

pytestmark = pytest.mark.podman


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

    def __init__(self, wanted: list[bytes], node: LabNode) -> None:
        self.wanted, self.rounds, self.in_pods = wanted, 0, 0
        self._depth = _pid_namespaces(f"/proc/{node.pid}")
        self.found, self.processes = set[str](), set[str]()
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
                if any(word in data for word in self.wanted):
                    if _is_in_a_pod(process, self._depth):
                        self.in_pods += 1
                    else:
                        self.found.add(f"{file} of {Path(process, 'cmdline').read_bytes()!r}")
            except OSError:  # it has ended
                return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _is_in_a_pod(process: str, depth: int) -> bool:
    """Whether it is in a container's cgroup; conmon, which serves a container from outside, has one of its own.

    A process of a pod that ends after its environment was read and before its cgroup is has none any more: with cgroup
    v1 the kernel shows the root for whatever is exiting, as it shows no command line. The pid namespace is kept to the
    last, and a pod's is one deeper than that of its node (at `depth`), where conmon, crun and Podman are."""
    groups = Path(process, "cgroup").read_text()
    if "/libpod-" in groups:
        return "/libpod-conmon-" not in groups
    return _is_exiting(process) and _pid_namespaces(process) > depth


def _is_exiting(process: str) -> bool:
    """PF_EXITING, the 0x4 of the flags in proc(5)'s stat."""
    return bool(int(Path(process, "stat").read_text().rpartition(")")[2].split()[6]) & 0x4)


def _pid_namespaces(process: str) -> int:
    """How many pid namespaces it has a number in, from here inward."""
    lines = Path(process, "status").read_text().splitlines()
    return len(next(line for line in lines if line.startswith("NSpid:")).split()) - 1


def test_a_process_that_has_ended_still_shows_whose_it_was() -> None:
    """What the rule above stands on: the kernel keeps the pid namespace of a process that nobody has waited for."""
    argv = ["unshare", "--pid", "--fork", "sleep", "60"]
    with subprocess.Popen(argv) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        child = until(lambda: children.read_text().split())[0]
        try:
            until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes())
            parent.send_signal(signal.SIGSTOP)  # once it has stopped it does not wait for its child
            until(lambda: "State:\tT" in Path(f"/proc/{parent.pid}/status").read_text())
            assert not _is_exiting(f"/proc/{child}")
            assert _pid_namespaces(f"/proc/{child}") == _pid_namespaces(f"/proc/{parent.pid}") + 1
            os.kill(int(child), signal.SIGKILL)
            until(lambda: _is_exiting(f"/proc/{child}") and not Path(f"/proc/{child}/cmdline").read_bytes())
            assert _pid_namespaces(f"/proc/{child}") == _pid_namespaces(f"/proc/{parent.pid}") + 1
        finally:
            parent.send_signal(signal.SIGCONT)
            parent.kill()


def holding(directory: Path, wanted: list[bytes]) -> list[str]:
    """Files below a directory that hold one of the words."""
    patterns = b"\n".join(wanted)
    argv = ["grep", "-rlaF", "-f", "-", str(directory)]
    done = subprocess.run(argv, input=patterns, capture_output=True, timeout=120)
    return done.stdout.decode().splitlines()


BREAK = """
import sys
from ktool.node.podman import performer
def broken(hands, action):
    raise RuntimeError(f"forced failure of {action!r}")
performer.perform = broken
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
    pods = [pod(f"p{number}", main, nodeName=node.name, **spec) for number, node in enumerate(lab.nodes[:2])]
    said: list[str] = []

    def run(*words: str, **more: Any) -> str:
        done = cluster(words[0], "--debug", *words[1:], **more)
        said.append(done.stdout + done.stderr)
        return done.stdout

    with Watch(wanted, lab.nodes[0]) as watch:
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
            run("get", "events", "-A", "-o", "yaml")
            run("get", "pods", *space, "-o", "yaml")
            run("describe", "pod", "p0", *space)
            run("describe", "secret", "db", *space)
        # A failure of every action for a pod, with the whole action in its message.
        forced = pod("forced", main, nodeName=lab.nodes[0].name, **spec)
        argv = [sys.executable, "-c", BREAK, "apply", *space, "--timeout=3s", "-f", "-"]
        broken = subprocess.run(
            argv, env=cluster.env, input=documents(forced).encode(), capture_output=True, timeout=60
        )
        said.append((broken.stdout + broken.stderr).decode())
    assert watch.rounds > 20 and watch.in_pods and {"conmon", "podman"} <= watch.processes
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
