"""The commands as a user runs them, in this process: a cluster of its own for each test, nodes simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ktool import app
from ktool.cli.main import run
from ktool.node.simulated import runtime


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Ktool = Callable[..., Result]


@pytest.fixture(autouse=True, scope="session")
def kinds():
    app.kinds()


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("KTOOL_HOME", str(folder))
    monkeypatch.delenv("KTOOL_NAMESPACE", raising=False)
    monkeypatch.delenv("KTOOL_TRACEBACK", raising=False)
    yield folder
    runtime.RUNTIMES.clear()


@pytest.fixture
def ktool(home, capfd) -> Ktool:
    """Run `ktool ARGS...` and have its exit code and both outputs."""

    def call(*argv: object) -> Result:
        capfd.readouterr()
        code = run([str(arg) for arg in argv])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def cluster(ktool) -> Ktool:
    """With two simulated nodes."""
    added = ktool("node", "add", "sim", "--simulated", "--count", 2)
    assert added.code == 0, added.err
    return ktool
