"""The transport to our own machine."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from ktool.node.base import NodeError
from ktool.node.reach.localhost import LocalTransport

pytestmark = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="runs commands as root, without sudo")


def test_commands() -> None:
    local = LocalTransport("me")
    done = local.run(["sh", "-c", "cat; echo err >&2; exit 4"], stdin=b"x" * 1_000_000)
    assert (done.status, len(done.stdout), done.stderr) == (4, 1_000_000, b"err\n")
    assert local.run(["printf", "%s", "$(id) 'x'"]).stdout == b"$(id) 'x'"
    assert local.run(["no-such-program-here"]).status == 127


def test_a_command_and_its_children_end_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(NodeError, match="did not end within"):
        LocalTransport("me").run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.3)
    assert time.monotonic() - began < 5


def test_sockets(tmp_path: Path) -> None:
    local = LocalTransport("me")
    path = str(tmp_path / "s")
    with pytest.raises(NodeError, match="No such file"):
        local.connect_unix(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with local.connect_unix(path) as stream:
            stream.sendall(b"x")
            assert listener.accept()[0].recv(1) == b"x"
