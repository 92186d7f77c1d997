"""The rows of the benchmark. Each takes the bench and a number of runs and yields Results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ktool import app
from ktool.api.obj import Obj, get, uid
from tests.bench import floor

IMAGE = "registry.lab/web:v1"
KTOOL = [sys.executable, "-m", "ktool"]
# As a user's shell has it: with compiled modules kept, whatever the machine that tests this is set to.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
CONCURRENCIES = (2, 4, 8)


@dataclass
class Result:
    """One line: pairs of (our seconds, the floor's seconds) and the ratio that is good enough."""

    name: str
    goal: float | None
    pairs: list[tuple[float, float]]
    notes: list[str] = field(default_factory=list)


class Bench:
    """State directories and a lab for the rows, all removed at the end."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ktool-bench-", dir="/var/tmp"))
        self._lab: object | None = None
        self._homes = 0
        self.servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self.servers:
            server.terminate()
            server.wait(30)
        if self._lab is not None:
            import ktool.lab

            ktool.lab.down("bench", root=self.root / "labs", say=lambda line: None)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def lab(self):  # type: ignore[no-untyped-def]
        """Three real nodes, brought up on first use."""
        import ktool.lab

        if self._lab is None:
            self._lab = ktool.lab.up("bench", 3, root=self.root / "labs", say=lambda line: None)
        return self._lab

    def reboot(self, node: str) -> None:
        """Until it answers again; its pid is another one."""
        import ktool.lab

        ktool.lab.reboot("bench", node, self.root / "labs")
        self._lab = ktool.lab.load("bench", self.root / "labs")

    def home(self) -> Path:
        self._homes += 1
        path = self.root / f"home{self._homes}"
        path.mkdir()
        return path

    def ktool(self, home: Path, *words: str, stdin: str = "") -> float:
        """Run the program; the seconds it took, its own start included."""
        begun = time.monotonic()
        done = subprocess.run(
            [*KTOOL, *words],
            env={**ENVIRONMENT, "KTOOL_HOME": str(home)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        took = time.monotonic() - begun
        if done.returncode != 0:
            raise SystemExit(f"ktool {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return took

    def ready(self, home: Path, replicas: int, manifest: str) -> tuple[float, float]:
        """Apply it; the seconds until the API says that so many pods are available, and until the command has ended."""
        seen: list[float] = []
        watching = threading.Event()

        def look() -> None:
            available: dict[str, int] = {}
            with app.session(act=False) as session:
                for found in _deployments(session, watching.set):
                    available[uid(found)] = int(get(found, "status", "availableReplicas", default=0))
                    if sum(available.values()) == replicas:
                        seen.append(time.monotonic())
                        return

        os.environ["KTOOL_HOME"] = str(home)
        app.kinds()
        watcher = threading.Thread(target=look)
        watcher.start()
        watching.wait()
        begun = time.monotonic()
        took = self.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
        watcher.join()
        if not seen:
            raise SystemExit(f"{replicas} pods did not become available")
        return seen[0] - begun, took

    def serve(self, home: Path) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [*KTOOL, "serve"],
            env={**ENVIRONMENT, "KTOOL_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.servers.append(server)
        end = time.monotonic() + 20
        while not (home / "ktool.sock").exists():
            if time.monotonic() > end or server.poll() is not None:
                raise SystemExit("ktool serve did not start")
            time.sleep(0.05)
        return server

    def end(self, server: subprocess.Popen[bytes]) -> None:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        self.servers.remove(server)

    def cluster(self) -> Path:
        """A state directory with the lab's nodes in it."""
        home = self.home()
        for node in self.lab.nodes:
            self.ktool(
                home, "node", "add", node.name, f"{node.user}@{node.address}:{node.port}",
                "--identity", str(node.identity), "--accept-new-host-keys",
            )  # fmt: skip
        return home


def _deployments(session: app.Session, watching: Callable[[], None], seconds: float = 120) -> Iterator[Obj]:
    """They and their changes, at the least cost to what is measured: a server tells of them, a store is read.
    `watching` is called when the first question was asked."""
    if app.socket_path().exists():
        events = session.client.watch("Deployment", "default", timeout=seconds)
        watching()
        yield from (event.obj for event in events)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield from session.client.list("Deployment", "default").items
        watching()
        time.sleep(0.03)


def deployment(name: str, replicas: int, image: str = IMAGE, node: str = "", **container: object) -> str:
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


# --- real nodes --------------------------------------------------------------------------------------------------


def pods_on_real_nodes(bench: Bench, runs: int) -> Iterator[Result]:
    """20 replicas on one node and 30 on three, `apply` to all Ready, then deleted, in both lives. The command ends
    later than that: it wants to see the first pod stay Ready for a second."""
    home = bench.cluster()
    sockets = [floor.node_socket(node.pid) for node in bench.lab.nodes]
    bench.ktool(home, "apply", "--wait", "-f", "-", stdin=deployment("warm", 3))
    bench.ktool(home, "delete", "deployment", "warm")
    for life in ("server", "own"):
        server = bench.serve(home) if life == "server" else None
        for count, nodes in ((20, 1), (30, 3)):
            up = Result(f"{count} pods on {nodes}, {life} control plane: apply", 1.25, [])
            down = Result(f"{count} pods on {nodes}, {life} control plane: delete", 1.3, [])
            for _ in range(runs):
                made, gone = _bare(sockets[:nodes], count, bench, home)
                node = bench.lab.nodes[0].name if nodes == 1 else ""
                manifest = deployment("many", count, node=node)
                ready, took = bench.ready(home, count, manifest)
                up.pairs.append((ready, made))
                up.notes.append(f"the whole command: {took:.2f} s, {took / made:.2f} of the floor")
                took = bench.ktool(home, "delete", "deployment", "many", "--cascade=foreground")
                down.pairs.append((took, gone))
            yield up
            yield down
        if server:
            bench.end(server)


def _bare(sockets: list[str], count: int, bench: Bench, home: Path) -> tuple[float, float]:
    """The best of several concurrencies: seconds to start the pods and to end them."""
    best_up, best_down = float("inf"), float("inf")
    for concurrency in CONCURRENCIES:
        per_node = []
        for index in range(len(sockets)):
            share = count // len(sockets)
            per_node.append(floor.pods(share, IMAGE, subnet(sockets[index]), "floor"))
        up, ids = floor.create(sockets, per_node, concurrency)
        down = floor.remove(sockets, ids, concurrency)
        best_up, best_down = min(best_up, up), min(best_down, down)
    return best_up, best_down


def subnet(path: str) -> str:
    podman = floor.Podman(path)
    return str(podman.call("GET", "/networks/ktool/json")["subnets"][0]["subnet"])


def rollout(bench: Bench, runs: int) -> Iterator[Result]:
    """12 replicas on three nodes from v1 to v2 with the defaults (3 above, 3 below), in both lives. The floor: four
    times three pods that start while three others end, by bare calls."""
    home = bench.cluster()
    sockets = [floor.node_socket(node.pid) for node in bench.lab.nodes]
    for image in (IMAGE, "registry.lab/web:v2"):  # each node has pulled both
        bench.ktool(home, "apply", "--wait", "-f", "-", stdin=deployment("warm", 3, image))
        bench.ktool(home, "delete", "deployment", "warm", "--cascade=foreground")
    for life in ("server", "own"):
        server = bench.serve(home) if life == "server" else None
        result = Result(f"roll 12 pods on 3 nodes, {life} control plane", 1.3, [])
        for run in range(runs):
            subnets = [subnet(path) for path in sockets]
            _, ids = floor.create(sockets, [floor.pods(4, IMAGE, net, "floor") for net in subnets], 4)
            new = [floor.pods(4, "registry.lab/web:v2", net, "floor", first=4) for net in subnets]
            bare = floor.roll(sockets, ids, new, 4)
            floor.remove(sockets, ids, 4)
            name = f"many{run}"
            bench.ktool(home, "apply", "--wait", "-f", "-", stdin=deployment(name, 12))
            took = bench.ktool(home, "set", "image", f"deploy/{name}", "web=registry.lab/web:v2", "--wait")
            result.pairs.append((took, bare))
            bench.ktool(home, "delete", "deployment", name, "--cascade=foreground")
        yield result
        if server:
            bench.end(server)


# --- no node at all ----------------------------------------------------------------------------------------------


def hundred_deployments(bench: Bench, runs: int) -> Iterator[Result]:
    """100 Deployments of 0 replicas: create, apply unchanged, delete, start of the program included. The floor is
    the goal in seconds on an idle machine, stretched by how much slower Python starts here and now than 20 ms."""
    text = "\n---\n".join(deployment(f"d{index}", 0) for index in range(100))
    names = [Result("100 Deployments: create", 1.0, []), Result("100 Deployments: unchanged", 1.0, [])]
    names.append(Result("100 Deployments: delete", 1.0, []))
    for _ in range(runs):
        home = bench.home()
        folder = home / "manifests"
        folder.mkdir()
        (folder / "all.yaml").write_text(text)
        words = ("apply", "-f", str(folder)), ("apply", "-f", str(folder)), ("delete", "-f", str(folder))
        for result, seconds, command in zip(names, (1.5, 1.0, 1.5), words, strict=True):
            result.pairs.append((bench.ktool(home, *command), seconds))
    yield from names


def simulated(bench: Bench, runs: int) -> Iterator[Result]:
    """2,000 pods on 100 simulated nodes: created, scheduled and running, at 500 pods/s or more."""
    result = Result("2000 pods on 100 simulated nodes", 1.0, [])
    for _ in range(runs):
        home = bench.home()
        bench.ktool(home, "node", "add", "sim", "--simulated", "--count", "100", "--cpu", "32", "--memory", "256Gi")
        server = bench.serve(home)
        text = "\n---\n".join(deployment(f"d{index}", 100) for index in range(20))
        ready, took = bench.ready(home, 2000, text)
        result.pairs.append((ready, 4.0))
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        memory = f"memory of the server: {int(peak.split()[1]) // 1024} MB"
        result.notes.append(f"{2000 / ready:.0f} pods/s; the whole command: {took:.1f} s; {memory}")
        bench.end(server)
    yield result


WINDOW = 30.0
"""Seconds over which processor time is counted."""


def probes(bench: Bench, runs: int) -> Iterator[Result]:
    """What 1,000 pods with a readiness and a liveness probe, each asked every 10 s, cost the control plane once they
    are Ready: seconds of processor time against a quarter of a core."""
    home = bench.home()
    bench.ktool(home, "node", "add", "sim", "--simulated", "--count", "30", "--cpu", "64", "--memory", "512Gi")
    server = bench.serve(home)
    probe = {"httpGet": {"path": "/healthz", "port": 8080}}
    text = "\n---\n".join(
        deployment(f"d{index}", 100, readinessProbe=probe, livenessProbe=probe) for index in range(10)
    )
    bench.ktool(home, "apply", "--wait", "-f", "-", stdin=text)
    result = Result(f"1000 probed pods on 30 nodes, CPU in {WINDOW:g} s", 1.0, [])
    for _ in range(runs):
        time.sleep(WINDOW / 3)
        before = _processor(server.pid)
        time.sleep(WINDOW)
        result.pairs.append((_processor(server.pid) - before, WINDOW / 4))
    bench.end(server)
    yield result


def _processor(pid: int) -> float:
    """Seconds of processor time that a process has used, its threads included (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def get_pods(bench: Bench, runs: int) -> Iterator[Result]:
    """`get pods` with 0 and 1,000 pods against kubectl's published 95 and 450 ms, and what it imports."""
    home = bench.home()
    bench.ktool(home, "node", "add", "sim", "--simulated", "--count", "10", "--cpu", "320", "--memory", "2560Gi")
    server = bench.serve(home)
    for count, kubectl in ((0, 0.095), (1000, 0.450)):
        if count:
            bench.ktool(home, "apply", "--wait", "-f", "-", stdin=deployment("many", count))
        result = Result(f"get pods, {count} pods, with a server", None, [])
        for _ in range(runs):
            result.pairs.append((bench.ktool(home, "get", "pods"), kubectl))
        if not count:
            result.notes.append(f"imports: {_imports(home)}")
        yield result
    bench.end(server)
    result = Result("get pods, 1000 pods, no server", None, [])
    for _ in range(runs):
        result.pairs.append((bench.ktool(home, "get", "pods"), 0.450))
    yield result


def _imports(home: Path) -> str:
    """The packages `ktool get pods` imports that are not of the standard library."""
    code = (
        "import sys; sys.argv = ['ktool', 'get', 'pods']\n"
        "from ktool.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(t for t in tops if t not in sys.stdlib_module_names and not t.startswith('_')), file=sys.stderr)"
    )
    env = {**ENVIRONMENT, "KTOOL_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    return done.stderr.strip().splitlines()[-1]


ROWS: dict[str, Callable[[Bench, int], Iterator[Result]]] = {
    "pods": pods_on_real_nodes,
    "rollout": rollout,
    "deployments": hundred_deployments,
    "simulated": simulated,
    "get": get_pods,
    "probes": probes,
}
