"""Pods put on a real node in the order the planner would, from what podspec renders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ktool.logic.node.nodeaction import (
    ContainerFact,
    CreateContainer,
    CreatePod,
    Outcome,
    PodFact,
    PreparePath,
    RemovePod,
    RemoveVolumes,
    StartPod,
    StopPod,
    WriteVolumes,
)
from ktool.logic.pod import podspec, secretenv
from ktool.node.podman.runtime import PodmanRuntime
from ktool.node.reach.ssh import Login, SshTransport

WEB = "registry.lab/web:v1"
SUBNETS = ("10.244.101.0/24", "10.244.102.0/24")


def transport(machine: Any) -> SshTransport:
    login = Login(machine.user, machine.identity, machine.host_key)
    return SshTransport(machine.name, machine.address, machine.port, login)


def connect(machine: Any, cluster: str) -> PodmanRuntime:
    return PodmanRuntime(transport(machine), node=machine.name, cluster=cluster)


def done(outcome: Outcome) -> str:
    assert outcome.failure is None, outcome.failure
    return outcome.id


def pod(name: str, *containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A Pod of the test's; containers default to one web server."""
    filled = [{"image": WEB, **container} for container in containers or ({"name": "web"},)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": str(uuid.uuid4())},
        "spec": {"containers": filled, **spec},
    }


def until(what: Callable[[], Any], timeout: float = 20.0) -> Any:
    """The first true answer of `what`."""
    deadline = time.monotonic() + timeout
    while not (answer := what()):
        assert time.monotonic() < deadline, f"still {answer!r}"
        time.sleep(0.1)
    return answer


@dataclass
class Node:
    runtime: PodmanRuntime
    machine: Any
    cluster: str

    def shell(self, script: str) -> str:
        """What a command prints on the node, for looking at it past the runtime."""
        other = transport(self.machine)
        try:
            finished = other.run(["sh", "-c", script], timeout=60)
            return finished.stdout.decode("utf-8", "replace")
        finally:
            other.close()

    def create(self, obj: dict[str, Any], ip: str, configs: Mapping[str, Any] | None = None) -> podspec.Rendered:
        """Everything but the start."""
        rendered = podspec.render(
            obj,
            node={"metadata": {"name": self.machine.name}},
            cluster=self.cluster,
            ip=ip,
            lookup=lambda ref: (configs or {}).get(ref.name),
        )
        assert not rendered.problems, rendered.problems
        uid = obj["metadata"]["uid"]
        for path in rendered.host_paths:
            done(self.runtime.perform(PreparePath(path.path, path.type)))
        done(self.runtime.perform(WriteVolumes(uid, rendered.volumes)))
        done(self.runtime.perform(CreatePod(uid, rendered.pod)))
        for own, payload in rendered.containers.items():
            done(self.runtime.perform(CreateContainer(uid, own, payload, rendered.secrets[own])))
            if "secret_env" in payload:
                done(self.runtime.perform(secretenv.keep_in_memory(obj, own, payload["name"])))
        return rendered

    def run(self, obj: dict[str, Any], ip: str, configs: Mapping[str, Any] | None = None) -> PodFact:
        rendered = self.create(obj, ip, configs)
        done(self.runtime.perform(StartPod(obj["metadata"]["uid"], rendered.pod_name)))
        return self.fact(obj["metadata"]["uid"])

    def fact(self, uid: str) -> PodFact:
        return next(fact for fact in self.runtime.observe().pods if fact.uid == uid)

    def container(self, uid: str, name: str) -> ContainerFact:
        return next(found for found in self.fact(uid).containers if found.name == name)

    def exec(self, container: str, *argv: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        """(exit code, stdout, stderr)."""
        stream = self.runtime.exec(container, argv, stdin=stdin is not None, tty=False)
        try:
            if stdin is not None:
                stream.send(stdin)
                stream.close_stdin()
            frames = list(stream.frames())
            status = stream.wait()
        finally:
            stream.close()
        return status, b"".join(d for n, d in frames if n == 1), b"".join(d for n, d in frames if n == 2)

    def remove(self, fact: PodFact, grace: int = 0) -> None:
        done(self.runtime.perform(StopPod(fact.uid, fact.id, tuple(c.id for c in fact.containers), grace)))
        done(self.runtime.perform(RemovePod(fact.uid, fact.id)))

    def clean(self) -> None:
        facts = self.runtime.observe()
        for fact in facts.pods:
            self.remove(fact)
        for uid in self.runtime.observe().volumes:
            done(self.runtime.perform(RemoveVolumes(uid)))
