"""Annotations of a Node -> how it is reached."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ktool.api.marks import CONNECTION
from ktool.node.base import NodeError
from ktool.node.connect import transport_for


def _node(url: str) -> dict[str, object]:
    return {"metadata": {"name": "n1", "annotations": {CONNECTION: url} if url else {}}}


@pytest.mark.parametrize(
    ("url", "host", "port", "user"),
    [
        ("ssh://10.0.0.1", "10.0.0.1", 22, "root"),
        ("ssh://root@10.0.0.1:2222", "10.0.0.1", 2222, "root"),
        ("ssh://deploy@web1.example.org", "web1.example.org", 22, "deploy"),
        ("ssh://a%40corp@[fe80::1]:22", "fe80::1", 22, "a@corp"),
    ],
)
def test_ssh(url: str, host: str, port: int, user: str) -> None:
    transport = transport_for(_node(url))
    assert (transport.host, transport.port, transport.user) == (host, port, user)  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["", "tcp://x", "ssh://", "ssh://h:notaport", "ssh://u:secret@h", "ssh://h/path"])
def test_what_is_not_understood_is_one_sentence(url: str) -> None:
    with pytest.raises(NodeError) as caught:
        transport_for(_node(url))
    assert caught.value.node == "n1" and "\n" not in caught.value.message


def test_simulated_nodes_do_not_pay_for_ssh_and_podman() -> None:
    code = (
        "import sys; from ktool.node.connect import runtime_for;"
        f"runtime_for({{'metadata': {{'name': 'n', 'annotations': {{'{CONNECTION}': 'simulated://'}}}}}}, 'c');"
        "sys.exit(bool({'paramiko', 'podman', 'requests'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
