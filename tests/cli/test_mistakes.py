"""A mistake of ours on a thread of the control plane: kept in crash.log, told in one sentence, never as a traceback."""

from __future__ import annotations

import logging

import pytest

from ktool.nodeplane.nodeloop import NodeLoop


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are when the program starts: pytest listens at the root."""
    for name in ("", "ktool"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])


def test_a_thread_of_the_control_plane_fails(ktool, home, monkeypatch, loggers):
    def broken(self, node):
        raise LookupError("here is a mistake")

    monkeypatch.setattr(NodeLoop, "_pass", broken)
    done = ktool("node", "add", "sim", "--simulated", "--timeout", "1s")
    assert done.code == 6
    assert "Traceback" not in done.err
    assert done.err.count("LookupError") == 1, done.err
    assert "here is a mistake" in (home / "crash.log").read_text()
    assert (home / "crash.log").read_text().count("Traceback") == 1
