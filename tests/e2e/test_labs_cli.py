"""`ktool lab` as a user has it: up, twice, beside another one, and down with nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Ktool
from tests.e2e.support import WEB, documents, pod

pytestmark = pytest.mark.podman

ONE, TWO = f"cli{os.getpid() % 100_000}a", f"cli{os.getpid() % 100_000}b"


@pytest.fixture(scope="module")
def ktool() -> Iterator[Ktool]:
    """A state directory where overlayfs works; /tmp may be a tmpfs."""
    home = Path(tempfile.mkdtemp(prefix="ktool-cli-labs-", dir="/var/tmp"))
    found = Ktool(home)
    try:
        yield found
    finally:
        for name in (ONE, TWO):
            found("lab", "down", "--name", name, status=None)
        shutil.rmtree(home)


def traces(*texts: str) -> list[str]:
    """What this machine has that names one of these texts: processes and what they see, links, routes, addresses,
    firewall rules, network namespaces, cgroups and mounts."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "cgroup", "mountinfo"):
            try:
                seen = (process / what).read_text(errors="replace")
            except OSError:
                continue
            found += [f"{what} of {process.name}" for text in texts if text in seen]
    commands = (
        ["ip", "-4", "address"],
        ["ip", "link"],
        ["ip", "route", "show", "table", "all"],
        ["ip", "netns"],
        ["nft", "list", "ruleset"],
    )
    for argv in commands:
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        found += [f"{' '.join(argv[:2])}: {line.strip()}" for line in lines for text in texts if text in line]
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup {directory}/{one}" for one in names for text in texts if text in one]
    return found


def marks(ktool: Ktool, name: str) -> tuple[str, ...]:
    """Texts that only this lab's things have: its directory, its cgroup, its addresses."""
    plan = json.loads((ktool.home / "labs" / name / "lab.json").read_text())
    return f"labs/{name}/", f"ktool-lab-{name}-", f"10.89.{plan['octet']}."


def test_a_lab_comes_and_goes(ktool: Ktool) -> None:
    up = ktool("lab", "up", "--nodes", "2", "--links", "2", "--name", ONE)
    nodes = [f"{ONE}-node1", f"{ONE}-node2"]
    assert [line for line in up.stdout.splitlines() if line.startswith("node/")] == [f"node/{n} added" for n in nodes]
    assert f"lab {ONE} is up: 2 nodes in 10.89." in up.stdout and WEB in up.stdout
    rows = [line.split()[:2] for line in ktool("get", "nodes", "--no-headers").stdout.splitlines()]
    assert rows == [[name, "Ready"] for name in nodes]

    again = ktool("lab", "up", "--name", ONE)
    assert [line for line in again.stdout.splitlines() if line.startswith("node/")] == [
        f"node/{name} unchanged" for name in nodes
    ]
    status = ktool("lab", "status", "--name", ONE).stdout.splitlines()
    assert [line.split()[:2] for line in status[1:]] == [
        [f"{ONE}-{n}", "Ready"] for n in ("registry", "node1", "node2")
    ]
    names = ktool("lab", "images", "--name", ONE, "-o", "name").stdout.splitlines()
    assert names == [f"registry.lab/web:{tag}" for tag in ("v1", "v2", "broken")]
    assert ktool("lab", "images", "--name", ONE).stdout.splitlines() == ["IMAGE", *names]

    ktool("apply", "-f", "-", stdin=documents(*(pod(f"web{i}", {"name": "main", "image": WEB}) for i in (1, 2))))
    assert "lab none" in ktool("lab", "status", "--name", "none", status=1).stderr

    two = ktool("lab", "up", "--nodes", "1", "--name", TWO)
    assert f"node/{TWO}-node1 added" in two.stdout
    assert len(ktool.json("get", "nodes")["items"]) == 3
    mine, others = marks(ktool, ONE), marks(ktool, TWO)
    assert {line.split()[0] for line in traces(*mine)} >= {"cmdline", "mountinfo", "cgroup", "ip"}

    down = ktool("lab", "down", "--name", ONE)
    assert f"lab {ONE} is down" in down.stdout
    assert traces(*mine) == [] and not (ktool.home / "labs" / ONE).exists()
    assert traces(*others), "the other lab stays"
    assert [one["metadata"]["name"] for one in ktool.json("get", "nodes")["items"]] == [f"{TWO}-node1"]
    assert ktool("get", "pods", "-A", "--no-headers").stdout == "", "pods go with their nodes"
    assert ktool("lab", "status", "--name", TWO).stdout.count("Ready") == 2

    ktool("lab", "down", "--name", TWO)
    ktool("lab", "down", "--name", TWO)
    assert traces(*others) == [] and ktool.json("get", "nodes")["items"] == []


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        pytest.param(["up", "--name", "../x"], 1, "cannot name a lab", id="name"),
        pytest.param(["up", "--nodes", "0x"], 2, "--nodes", id="nodes"),
        pytest.param(["up", "--nodes", "9999"], 1, "nodes, not 9999", id="too-many"),
        pytest.param(["up", "--links", "3"], 1, "1 to 2 links, not 3", id="links"),
        pytest.param(["images", "--name", "none"], 1, "no lab named none", id="no-lab"),
        pytest.param(["images", "-o", "yaml"], 2, "-o", id="format"),
    ],
)
def test_words_that_make_no_lab(ktool: Ktool, words: list[str], status: int, text: str) -> None:
    done = ktool("lab", *words, status=status)
    assert text in done.stderr and not done.stdout
