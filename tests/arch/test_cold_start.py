"""What a command that talks to a server loads: nothing that only a control plane needs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAVY = {"sqlalchemy", "paramiko", "podman", "rich", "requests", "asyncio", "cryptography"}
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: registry.lab/web:v1}]}
"""


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    """The environment of commands that find a server. The folder's name is short: so must a socket's be."""
    home = tempfile.mkdtemp(prefix="ktool-cold-")
    environment = {**os.environ, "KTOOL_HOME": home}
    environment.pop("KTOOL_NAMESPACE", None)
    argv = [sys.executable, "-m", "ktool", "serve"]
    server = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ktool serves "), "no server"
        Path(home, "pod.yaml").write_text(POD)
        yield environment
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
        shutil.rmtree(home)


def loaded(argv: str, environment: dict[str, str]) -> set[str]:
    """The top-level modules and ktool's own packages that a command has loaded when it ends well."""
    code = (
        "import sys; from ktool.cli.main import run; code = run(sys.argv[1:]); "
        "print(code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv.split()],
        env=environment,
        cwd=environment["KTOOL_HOME"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    status, *modules = done.stderr.splitlines()[-1].split()
    assert status == "0", done.stderr[-2000:] if "Error" in done.stderr else done.stderr.splitlines()[:-1]
    return {module.split(".")[0] for module in modules} | {module for module in modules if module.startswith("ktool.")}


CONTROL_PLANE = {
    "ktool.store",
    "ktool.registry.registry",
    "ktool.control",
    "ktool.nodeplane",
    "ktool.serve",
    "ktool.client.local",
}


@pytest.mark.parametrize(
    "command",
    [
        "get pods",
        "get pods -A -o wide",
        "get pods -o json",
        "get nodes",
        "get all",
        "describe pods",
        "events",
        "version",
        "lock",
        "node list",
        "scale deploy --all --replicas=1",
        "delete pod nobody --ignore-not-found",
    ],
)
def test_a_command_with_a_server(served: dict[str, str], command: str) -> None:
    modules = loaded(command, served)
    assert modules & (HEAVY | CONTROL_PLANE | {"yaml"}) == set()
    assert "ktool.client.http" in modules


@pytest.mark.parametrize("words", ["get pods w", "get po", "logs web -c m", "-n de"])
def test_a_tab_key_with_a_server(served: dict[str, str], words: str) -> None:
    modules = loaded(f"__complete {words}", served)
    assert modules & (HEAVY | CONTROL_PLANE | {"ktool.kinds"}) == set()
    assert "ktool.client.http" in modules


@pytest.mark.parametrize("command", ["apply -f pod.yaml", "get pods -o yaml", "delete -f pod.yaml --ignore-not-found"])
def test_yaml_is_all_that_manifests_add(served: dict[str, str], command: str) -> None:
    modules = loaded(command, served)
    assert modules & (HEAVY | CONTROL_PLANE) == set()
    assert "yaml" in modules


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "version --client",
        "get --help",
        "completion bash",
        "explain pod",
        "__complete ap",
        "__complete get --s",
    ],
)
def test_a_command_that_needs_nobody(served: dict[str, str], command: str) -> None:
    assert loaded(command, served) & (HEAVY | CONTROL_PLANE | {"yaml", "ktool.client.http"}) == set()
