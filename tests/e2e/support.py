"""What tests of pods and nodes share: manifests as Python, the nodes' shells, a server for as long as it is needed."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ktool import lab as labs
from ktool.lab import Lab, LabNode
from tests.e2e.conftest import Ktool
from tests.e2e.conftest import serving as serving
from tests.e2e.nodes import root_of

WEB = "registry.lab/web:v1"
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"]
"""A container that stays and ends at once when it is told to."""


def documents(*objects: Any) -> str:
    """Several manifests as one stream; JSON is YAML."""
    return "\n---\n".join(json.dumps(obj) for obj in objects)


def container(name: str, *command: str, **fields: Any) -> dict[str, Any]:
    """A container of the lab's image; without a command it stays until it is told to end."""
    return {"name": name, "image": WEB, "command": list(command) or SLEEP, **fields}


def script(name: str, text: str, **fields: Any) -> dict[str, Any]:
    return container(name, "sh", "-c", text, **fields)


def pod(name: str, *containers: Any, **spec: Any) -> dict[str, Any]:
    """A pod that is not waited for when it is to end, unless `spec` says otherwise."""
    body = {"containers": [*containers], "terminationGracePeriodSeconds": 1, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name, container("main"), **spec)["spec"]}
    selector = {"matchLabels": {"app": name}}
    body = {"replicas": replicas, "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


# --- states ------------------------------------------------------------------------------------------------------


def status_of(pod_: Any, name: str) -> Any:
    """The status of one of its containers, {} while there is none."""
    status = pod_.get("status", {})
    entries = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return next((entry for entry in entries if entry["name"] == name), {})


def ready(pod_: Any) -> bool:
    conditions = pod_.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def phase(pod_: Any) -> str:
    return str(pod_.get("status", {}).get("phase", ""))


# --- the program -------------------------------------------------------------------------------------------------


@contextmanager
def space(ktool: Ktool) -> Iterator[str]:
    """A namespace that is gone, with its pods, at the end."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    ktool("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    try:
        yield name
    finally:
        ktool("delete", "namespace", name, "--ignore-not-found", "--now")


# --- the nodes ---------------------------------------------------------------------------------------------------


def fresh(lab: Lab, name: str) -> LabNode:
    """A node as it is now: its pid is another one after a reboot."""
    loaded = labs.load(lab.name, root_of(lab))
    assert loaded is not None
    return next(node for node in loaded.nodes if node.name == name)


def on(node: LabNode, command: str, *, check: bool = True, timeout: float = 60.0) -> str:
    """What a person's shell on the node prints."""
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
    known = ["-o", "UserKnownHostsFile=/dev/null"]
    argv = ["ssh", *options, *known, "-p", str(node.port), "-i", node.identity, f"{node.user}@{node.address}", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()
