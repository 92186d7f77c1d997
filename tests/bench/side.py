"""One side of the benchmark: a checkout whose program is measured, with state directories, servers and a lab of its
own. Every row drives the checkout's `.venv/bin/ktool` as a whole process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.floor import Unix

if TYPE_CHECKING:
    from ktool.lab import Lab

# As a user's shell has it: with compiled modules kept, whatever the machine that tests this is set to.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
IMAGE = "registry.lab/web:v1"


class Side:
    """A checkout and what belongs to it while the benchmark runs; all of it is removed by `close`."""

    def __init__(self, label: str, checkout: Path, root: Path) -> None:
        self.label = label
        self.root = root / label
        self.root.mkdir()
        self.python = str(checkout / ".venv/bin/python")
        self._program = str(checkout / ".venv/bin/ktool")
        self._lab: Lab | None = None
        self._cluster: Path | None = None
        self._homes = 0
        self._servers: list[subprocess.Popen[bytes]] = []
        if not os.access(self._program, os.X_OK):
            raise SystemExit(f"{checkout} has no .venv/bin/ktool: run `sh tools/setup` there")

    def close(self) -> None:
        for server in list(self._servers):
            self._end(server)
        if self._lab is not None:
            import ktool.lab

            ktool.lab.down(self._lab.name, root=self.root / "labs", say=lambda line: None)

    # --- the program ---------------------------------------------------------------------------------------------

    def home(self) -> Path:
        """A new state directory."""
        self._homes += 1
        path = self.root / f"home{self._homes}"
        path.mkdir()
        return path

    def say(self, home: Path, *words: str, stdin: str = "") -> tuple[float, str]:
        """Run the program; the seconds it took, its own start included, and what it printed."""
        begun = time.monotonic()
        done = subprocess.run(
            [self._program, *words],
            env=self.environment(home),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        took = time.monotonic() - begun
        if done.returncode != 0:
            said = f"exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise SystemExit(f"{self.label}: ktool {' '.join(words)}: {said}")
        return took, done.stdout

    def ktool(self, home: Path, *words: str, stdin: str = "") -> float:
        """Run the program; the seconds it took."""
        return self.say(home, *words, stdin=stdin)[0]

    def get(self, home: Path, kind: str, name: str) -> Any:
        return json.loads(self.say(home, "get", kind, name, "-o", "json")[1])

    def environment(self, home: Path) -> dict[str, str]:
        return {**ENVIRONMENT, "KTOOL_HOME": str(home)}

    @contextmanager
    def applied(self, home: Path, text: str) -> Iterator[float]:
        """Objects that are there, and Ready, for as long as the context is; the seconds that took."""
        try:
            yield self.ktool(home, "apply", "--wait", "-f", "-", stdin=text)
        finally:
            self.ktool(home, "delete", "--ignore-not-found", "--cascade=foreground", "-f", "-", stdin=text)

    # --- a server ------------------------------------------------------------------------------------------------

    @contextmanager
    def server(self, home: Path) -> Iterator[int]:
        """`ktool serve`, and its process id."""
        quiet = subprocess.DEVNULL
        server = subprocess.Popen([self._program, "serve"], env=self.environment(home), stdout=quiet, stderr=quiet)
        self._servers.append(server)
        try:
            end = time.monotonic() + 20
            while not (home / "ktool.sock").exists():
                if time.monotonic() > end or server.poll() is not None:
                    raise SystemExit(f"{self.label}: ktool serve did not start")
                time.sleep(0.05)
            yield server.pid
        finally:
            self._end(server)

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        if server in self._servers:
            self._servers.remove(server)
            server.send_signal(signal.SIGTERM)
            server.wait(60)

    # --- real nodes ----------------------------------------------------------------------------------------------

    @property
    def lab(self) -> Lab:
        """Three real nodes of this side alone, brought up on first use; what Debian has and this machine lacks is
        installed. The lab is the ground that both sides stand on, so it is always this checkout's."""
        if self._lab is None:
            import ktool.lab

            name = f"bench-{self.label}"
            self._lab = ktool.lab.up(name, 3, root=self.root / "labs", install=True, say=lambda line: None)
        return self._lab

    def cluster(self) -> Path:
        """The state directory that has the lab's nodes. All rows share it, so each leaves it empty."""
        if self._cluster is None:
            self._cluster = self.home()
            for node in self.lab.nodes:
                where = f"{node.user}@{node.address}:{node.port}"
                identity = ("--identity", str(node.identity), "--accept-new-host-keys")
                self.ktool(self._cluster, "node", "add", node.name, where, *identity)
        return self._cluster

    # --- until pods are there ------------------------------------------------------------------------------------

    def ready(self, home: Path, replicas: int, manifest: str) -> tuple[float, float]:
        """Apply it; the seconds until the API says that so many pods are available, and until the command has ended."""
        seen: list[float] = []
        watching = threading.Event()

        def look() -> None:
            available: dict[str, int] = {}
            for found in _deployments(home, watching):
                available[found["metadata"]["name"]] = (found.get("status") or {}).get("availableReplicas") or 0
                if sum(available.values()) == replicas:
                    seen.append(time.monotonic())
                    return

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        watching.wait(20)
        begun = time.monotonic()
        took = self.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
        watcher.join(20)
        if not seen:
            raise SystemExit(f"{self.label}: {replicas} pods did not become available")
        return seen[0] - begun, took


def _deployments(home: Path, watching: threading.Event) -> Iterator[dict[str, Any]]:
    """They and their changes, at the least cost to what is measured and without a line of what is measured: a server
    tells of them by Kubernetes' watch, a database is read. `watching` is set when the first question was asked."""
    path = home / "ktool.sock"
    return _told(path, watching) if path.exists() else _read(home / "ktool.db", watching)


def _told(path: Path, watching: threading.Event) -> Iterator[dict[str, Any]]:
    with closing(Unix(str(path), 300)) as connection:
        connection.request("GET", "/apis/apps/v1/namespaces/default/deployments?watch=true&timeoutSeconds=280")
        answer = connection.getresponse()
        watching.set()
        while line := answer.readline():
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED"):
                yield event["object"]


def _read(path: Path, watching: threading.Event) -> Iterator[dict[str, Any]]:
    """The revisions of Deployments as the database keeps them: the table `history`, whose rows have a revision, a key
    that names kind, namespace and object, and a body."""
    newer = "SELECT rv, body FROM history WHERE rv > ? AND key LIKE '%Deployment/default/%' ORDER BY rv"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        seen = database.execute("SELECT max(rv) FROM history").fetchone()[0] or 0
        watching.set()
        end = time.monotonic() + 280
        while time.monotonic() < end:
            for revision, body in database.execute(newer, (seen,)).fetchall():
                seen = revision
                yield json.loads(body)
            time.sleep(0.03)


def deployment(name: str, replicas: int, image: str = IMAGE, node: str = "", **container: object) -> str:
    """A Deployment of one container `web`, as JSON."""
    spec: dict[str, object] = {"containers": [{"name": "web", "image": image, **container}]}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    labels = {"app": name}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )


def documents(objects: list[dict[str, Any]]) -> str:
    """Manifests as one text."""
    return "\n---\n".join(map(json.dumps, objects))
