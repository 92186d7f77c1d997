"""The ktool program against real nodes: one lab and one cluster for all tests, a namespace for each.

A node belongs to one cluster, so the tests share the state directory `home`; what a test leaves in its namespace is
deleted with it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab


@dataclass(frozen=True)
class Ktool:
    """Runs the program as a user would, with this state directory."""

    home: Path

    def __call__(
        self, *words: str, stdin: str | bytes = b"", status: int | None = 0, timeout: float = 180.0, cwd: Any = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; `status` is the exit code that must come (None: any)."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "ktool", *words],
            env=self.env,
            input=data,
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
        )
        text = subprocess.CompletedProcess(
            words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        assert "Traceback" not in text.stderr, text.stderr
        if status is not None:
            assert text.returncode == status, f"ktool {' '.join(words)}: {text.returncode}\n{text.stdout}{text.stderr}"
        return text

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "KTOOL_HOME": str(self.home), "NO_COLOR": "1"}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "ktool", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json").stdout)

    def pods(self, namespace: str) -> list[Any]:
        return list(self.json("get", "pods", "-n", namespace)["items"])


def until(what: Callable[[], Any], seconds: float = 30.0, every: float = 0.2) -> Any:
    """The first true answer within the time; AssertionError with the last one otherwise."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds} s: {answer!r}"
        time.sleep(every)


@pytest.fixture(scope="package")
def cluster(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ktool]:
    """A cluster of the lab's three nodes, which it gives back at the end: other tests make them theirs."""
    ktool = Ktool(tmp_path_factory.mktemp("home"))
    for node in lab.nodes:
        login = f"{node.user}@{node.address}:{node.port}"
        ktool("node", "add", node.name, login, "--identity", str(node.identity), "--accept-new-host-keys")
    yield ktool
    for node in lab.nodes:
        ktool("node", "remove", node.name)


@pytest.fixture
def namespace(cluster: Ktool) -> Iterator[str]:
    """A namespace that is gone, with its pods, when the test ends."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    cluster(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    )
    yield name
    cluster("delete", "namespace", name, "--ignore-not-found", "--grace-period=1")


@contextmanager
def serving(ktool: Ktool) -> Iterator[subprocess.Popen[bytes]]:
    """`ktool serve` while the block runs; ended as a user ends it."""
    process = ktool.start("serve")
    try:
        until(lambda: _answers(ktool.home / "ktool.sock") or process.poll() is not None, 20)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert b"Traceback" not in said, said.decode()
    assert process.returncode == 0


def _answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket; one that was killed leaves its file."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture
def serverless(cluster: Ktool) -> Ktool:
    """The cluster while no server acts for it. Tests that ask for this stand before those with a server for a whole
    module."""
    assert not _answers(cluster.home / "ktool.sock"), "a server is running"
    return cluster


@pytest.fixture
def server(cluster: Ktool) -> Iterator[subprocess.Popen[bytes]]:
    """`ktool serve` for the time of a test."""
    with serving(cluster) as process:
        yield process


@pytest.fixture(params=["own", "server"])
def life(request: pytest.FixtureRequest) -> str:
    """Both lives of the control plane: in the command's own process, or in a server."""
    if request.param == "server":
        request.getfixturevalue("server")
    return str(request.param)
