"""Rows that need no real node. Each drives the program of its side; the floor of each is `bare.py`, run right beside it
by this checkout's Python."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench import bare
from tests.bench.side import ENVIRONMENT, Side, deployment
from tests.bench.table import Runs, Sample

REPEATS = 5
"""Commands of a tenth of a second are run so often in each run, in turns with the floor."""


def floor(*words: str) -> tuple[float, str]:
    """Run a floor; the seconds of the whole process, and what it printed."""
    argv = [sys.executable, "-P", bare.__file__, *words]
    begun = time.monotonic()
    done = subprocess.run(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    return time.monotonic() - begun, done.stdout


def in_turns(name: str, ours: Callable[[], float], theirs: Callable[[], float], goal: float, note: str = "") -> Sample:
    """Medians of short commands and their floor that took turns."""
    pairs = [(ours(), theirs()) for _ in range(REPEATS)]
    took, least = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Sample(name, took, least, goal, note)


# --- commands ----------------------------------------------------------------------------------------------------


def start(side: Side) -> Runs:
    """The cold start: `version --client`, which asks nobody. The floor is a Python that imports typer and ends: no
    program with this command line starts sooner."""
    home = side.home()
    side.ktool(home, "version", "--client")
    while True:
        ours = lambda: side.ktool(home, "version", "--client")  # noqa: E731
        yield [in_turns("start: version --client", ours, lambda: floor("start")[0], 2.0)]


def get_pods(side: Side) -> Runs:
    """`get pods` with 0 and 1,000 pods, with a server and (1,000) without. The floor is a Python that imports typer,
    reads as many pods from a database of its own and prints a line for each: the least that shows them, and it has no
    server to ask."""
    homes = {}
    rows = {}
    for count in (0, 1000):
        homes[count] = side.home()
        rows[count] = str(homes[count] / "floor.db")
        bare.put(bare.database(rows[count]), [bare.pod(number) for number in range(count)])
        nodes = ("--count", "10", "--cpu", "320", "--memory", "2560Gi")
        side.ktool(homes[count], "node", "add", "sim", "--simulated", *nodes)
        if count:
            side.ktool(homes[count], "apply", "--wait", "-f", "-", stdin=deployment("many", count))
    notes = [f"imports: {_imports(side, homes[0])}"]

    def sample(count: int, where: str, goal: float, note: str = "") -> Sample:
        ours = lambda: side.ktool(homes[count], "get", "pods")  # noqa: E731
        return in_turns(f"get pods, {count} pods, {where}", ours, lambda: floor("get", rows[count])[0], goal, note)

    while True:
        samples = []
        for count, goal in ((0, 2.6), (1000, 3.3)):
            with side.server(homes[count]) as server:
                settle(server)
                samples.append(sample(count, "with a server", goal, notes.pop() if notes else ""))
        samples.append(sample(1000, "no server", 6.5))
        yield samples


def _imports(side: Side, home: Path) -> str:
    """The packages `ktool get pods` imports from a server that are not of the standard library."""
    code = (
        "import sys; sys.argv = ['ktool', 'get', 'pods']\n"
        "from ktool.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(t for t in tops if t not in sys.stdlib_module_names and not t.startswith('_')), file=sys.stderr)"
    )
    argv = [side.python, "-P", "-c", code]
    with side.server(home):
        done = subprocess.run(argv, env=side.environment(home), capture_output=True, text=True, timeout=60)
    return done.stderr.strip().splitlines()[-1]


def hundred_deployments(side: Side) -> Runs:
    """100 Deployments of 0 replicas without a server: create, apply unchanged, delete, start of the program included.
    The floor is a Python that imports typer, reads the same YAML and does the same to as many rows of a database in
    one transaction; nobody validates, defaults or controls them."""
    text = "\n---\n".join(deployment(f"d{index}", 0) for index in range(100))
    steps = (("create", "apply", 11.0), ("unchanged", "apply", 7.0), ("delete", "delete", 8.5))
    while True:
        home = side.home()
        manifests = home / "manifests/all.yaml"
        manifests.parent.mkdir()
        manifests.write_text(text)
        samples = []
        for what, verb, goal in steps:
            took = side.ktool(home, verb, "-f", str(manifests.parent))
            least = floor("manifests", str(home / "floor.db"), what, str(manifests))[0]
            samples.append(Sample(f"100 Deployments: {what}", took, least, goal))
        yield samples


# --- a control plane ---------------------------------------------------------------------------------------------


def simulated(side: Side) -> Runs:
    """2,000 pods on 100 simulated nodes, from `apply` until all are available. The floor is a Python process that
    writes 2,000 pods to a database three times each, as made, placed and running: what is left of it when nobody
    decides, watches or waits. Its start is not counted; the server runs already."""
    text = "\n---\n".join(deployment(f"d{index}", 100) for index in range(20))
    while True:
        home = side.home()
        nodes = ("--count", "100", "--cpu", "32", "--memory", "256Gi")
        side.ktool(home, "node", "add", "sim", "--simulated", *nodes)
        with side.server(home) as server:
            settle(server)
            ready, took = side.ready(home, 2000, text)
            status = Path(f"/proc/{server}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        least = float(floor("simulated", str(home / "floor.db"), "2000")[1])
        memory = f"memory of the server: {int(peak.split()[1]) // 1024} MB"
        note = f"{2000 / ready:.0f} pods/s; the whole command: {took:.1f} s; {memory}"
        yield [Sample("2000 pods on 100 simulated nodes", ready, least, 33.0, note)]


WINDOW = 20.0
"""Seconds over which processor time is counted: two periods of the probes."""
PERIOD = 10


def probes(side: Side) -> Runs:
    """What 1,000 pods with a readiness and a liveness probe, each asked every 10 s, cost the control plane once they
    are Ready, in seconds of processor time. The floor is the processor time of a Python process that asks as often by
    HTTP on loopback, a connection for each probe as a kubelet has it."""
    home = side.home()
    nodes = ("--count", "30", "--cpu", "64", "--memory", "512Gi")
    side.ktool(home, "node", "add", "sim", "--simulated", *nodes)
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": PERIOD}
    each = [deployment(f"d{index}", 100, readinessProbe=probe, livenessProbe=probe) for index in range(10)]
    text = "\n---\n".join(each)
    count = round(2 * 1000 * WINDOW / PERIOD)
    with side.server(home) as server, _healthy() as port:
        side.ktool(home, "apply", "--wait", "-f", "-", stdin=text)
        while True:
            time.sleep(PERIOD)
            before = processor(server)
            time.sleep(WINDOW)
            took = processor(server) - before
            least = float(floor("probes", str(port), str(count))[1])
            yield [Sample(f"1000 probed pods on 30 nodes, CPU in {WINDOW:g} s", took, least, 1.0)]


class _Healthy(BaseHTTPRequestHandler):
    """An application that is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nobody reads it."""


@contextmanager
def _healthy() -> Iterator[int]:
    """The application's port on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield server.server_port


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used, its threads included (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settle(pid: int, timeout: float = 20.0) -> None:
    """Wait until a server has done what it does after its start: it rests for most of half a second."""
    end = time.monotonic() + timeout
    before = processor(pid)
    while time.monotonic() < end:
        time.sleep(0.5)
        before, last = processor(pid), before
        if before - last <= 0.05:
            return


ROWS = {
    "start": start,
    "get": get_pods,
    "deployments": hundred_deployments,
    "simulated": simulated,
    "probes": probes,
}
