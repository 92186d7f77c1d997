"""SshTransport against real sshds, as other people configure them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktool.node.base import NodeError, Unreachable
from ktool.node.podman.podmanapi import SOCKET, PodmanApi
from ktool.node.reach import hostkeys
from ktool.node.reach.ssh import Login, SshTransport
from tests.podman.support import transport, until

pytestmark = pytest.mark.podman

TO_SSHD = 'pid=$PPID; while ! grep -q ^sshd /proc/$pid/comm; do pid=$(ps -o ppid= -p $pid | tr -d " "); done'


@pytest.fixture(scope="module")
def machine(lab: Any) -> Any:
    return lab.nodes[2]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs: user (ed25519, no passphrase), locked (with one), other, ca."""
    top = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("user", ""), ("locked", "open sesame"), ("other", ""), ("ca", "")):
        _keygen("-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(top / name))
    return top


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, capture_output=True)


class Server:
    """A second sshd on the lab's node, with lines of the test's own in its configuration."""

    def __init__(self, machine: Any, port: int, keys: Path, extra: str) -> None:
        self.machine, self.port, self.keys = machine, port, keys
        self.directory = f"/etc/ssh/test-{port}"
        users = b"".join((keys / f"{name}.pub").read_bytes() for name in ("user", "locked"))
        config = (
            f"Port {port}\nListenAddress {machine.address}\nPidFile {self.directory}/pid\nUsePAM no\n"
            f"AuthorizedKeysFile {self.directory}/keys\nPermitRootLogin prohibit-password\nStrictModes no\n{extra}"
        ).replace("DIR", self.directory)
        if "HostKey " not in config:
            config += f"HostKey {self.directory}/ed25519\n"
        self._run(
            f"rm -rf {self.directory}; mkdir -p {self.directory}; cd {self.directory}; cat >keys; "
            "ssh-keygen -q -t ed25519 -N '' -f ed25519; ssh-keygen -q -t ecdsa -N '' -f ecdsa",
            users,
        )
        self._run(f"cat >{self.directory}/config", config.encode())

    def start(self) -> None:
        self._run(f"/usr/sbin/sshd -f {self.directory}/config -E {self.directory}/log")
        until(lambda: _listens(self.machine.address, self.port))

    def stop(self) -> None:
        self._run(f"read -r pid <{self.directory}/pid && kill $pid")

    def key(self, kind: str = "ed25519") -> str:
        return " ".join(self._run(f"cat {self.directory}/{kind}.pub").split()[:2])

    def sign(self, *options: str) -> None:
        """A certificate of our authority for the ed25519 host key, for sshd to show."""
        public = self.keys / f"host-{self.port}.pub"
        public.write_text(self._run(f"cat {self.directory}/ed25519.pub"))
        _keygen("-s", str(self.keys / "ca"), "-h", "-I", "host", *options, str(public))
        self._run(f"cat >{self.directory}/ed25519-cert.pub", (self.keys / f"host-{self.port}-cert.pub").read_bytes())

    def connect(self, connect_timeout: float = 10.0, **options: Any) -> SshTransport:
        login = Login(**{"identity": self.keys / "user", "known_hosts": [], **options})
        return SshTransport("n3", self.machine.address, self.port, login, connect_timeout=connect_timeout)

    def _run(self, script: str, stdin: bytes = b"") -> str:
        other = transport(self.machine)
        try:
            done = other.run(["sh", "-c", script], stdin=stdin)
            assert done.status == 0, done.stderr
            return done.stdout.decode()
        finally:
            other.close()


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


@pytest.fixture
def serve(machine: Any, keys: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(extra: str = "", sign: tuple[str, ...] | None = None) -> Server:
        server = Server(machine, 2200 + len(servers) + os.getpid() % 500, keys, extra)
        if sign is not None:
            server.sign(*sign)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def connected(machine: Any) -> Iterator[SshTransport]:
    opened = transport(machine)
    yield opened
    opened.close()


# --- commands ------------------------------------------------------------------------------------------------------


def test_a_command(connected: SshTransport, machine: Any) -> None:
    done = connected.run(["sh", "-c", 'echo "$1"; echo err >&2; exit 7', "sh", "a'b $(id)\n"])
    assert (done.status, done.stdout, done.stderr) == (7, b"a'b $(id)\n\n", b"err\n")
    assert connected.run(["hostname"]).stdout.decode().strip() == machine.name


def test_much_on_both_pipes_and_on_stdin(connected: SshTransport) -> None:
    done = connected.run(["sh", "-c", "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; exit 3"])
    assert (done.status, len(done.stdout), len(done.stderr)) == (3, 5_000_000, 5_000_000)
    data = os.urandom(6_000_000)
    assert connected.run(["cat"], stdin=data).stdout == data
    assert connected.run(["true"], stdin=data).status == 0, "a command that reads nothing"


def test_a_command_that_does_not_end_is_given_up(connected: SshTransport) -> None:
    began = time.monotonic()
    with pytest.raises(NodeError, match="did not end within") as caught:
        connected.run(["sleep", "60"], timeout=0.5)
    assert time.monotonic() - began < 2 and not isinstance(caught.value, Unreachable)
    for _ in range(12):
        with pytest.raises(NodeError):
            connected.run(["sleep", "61"], timeout=0.05)
    assert connected.run(["true"]).status == 0, "twelve would fill sshd's sessions"
    until(lambda: connected.run(["pgrep", "-f", "^sleep 61$"]).stdout == b"")


def test_more_commands_at_once_than_sshd_has_sessions(connected: SshTransport) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(connected.run(["sleep", "0.1"]).status)) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 40


# --- streams -------------------------------------------------------------------------------------------------------


def test_many_streams_to_podman_at_once(connected: SshTransport) -> None:
    streams = [connected.connect_unix(SOCKET) for _ in range(30)]
    for stream in streams:
        stream.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    assert all(stream.recv(12) == b"HTTP/1.1 200" for stream in streams)
    for stream in streams:
        stream.close()


def test_a_socket_that_is_not_there(connected: SshTransport) -> None:
    with pytest.raises(NodeError, match=r"no socket /run/nope\.sock"):
        connected.connect_unix("/run/nope.sock")


def test_a_tcp_stream(connected: SshTransport, machine: Any) -> None:
    stream = connected.connect_tcp(machine.address, machine.port)
    assert stream.recv(4) == b"SSH-"
    stream.close()
    with pytest.raises(NodeError, match="cannot be reached from"):
        connected.connect_tcp("127.0.0.1", 1)


def test_podman_without_stream_forwarding(serve: Callable[..., Server]) -> None:
    server = serve("AllowStreamLocalForwarding no\n")
    opened = server.connect(host_key=server.key())
    api = PodmanApi(opened)
    assert [api.get("_ping") for _ in range(3)] == ["OK"] * 3
    api.close()
    opened.close()


# --- host keys -----------------------------------------------------------------------------------------------------


def test_an_unknown_host_is_accepted_only_on_request(serve: Callable[..., Server]) -> None:
    server = serve()
    fingerprint = hostkeys.fingerprint(hostkeys.pinned(server.key()).blob)
    with pytest.raises(Unreachable, match="--accept-new-host-keys") as caught:
        server.connect().run(["true"])
    assert fingerprint in caught.value.message
    accepting = server.connect(accept_new_host_key=True)
    assert accepting.run(["true"]).status == 0
    assert accepting.server_key() == server.key()
    accepting.close()


@pytest.mark.parametrize("accept", [False, True])
def test_a_changed_key_is_refused_with_both_fingerprints(
    serve: Callable[..., Server], keys: Path, tmp_path: Path, accept: bool
) -> None:
    server = serve()
    old = (keys / "other.pub").read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"# a comment\n[{server.machine.address}]:{server.port} {old}")
    with pytest.raises(Unreachable, match="has changed") as caught:
        server.connect(known_hosts=[known], accept_new_host_key=accept).run(["true"])
    for text in (
        hostkeys.fingerprint(hostkeys.pinned(old).blob),
        hostkeys.fingerprint(hostkeys.pinned(server.key()).blob),
        f"{known}, line 2",
        f"ssh-keygen -R '[{server.machine.address}]:{server.port}'",
    ):
        assert text in caught.value.message
    with pytest.raises(Unreachable, match=r"annotation ktool\.dev/host-key of node n3"):
        server.connect(host_key=old).run(["true"])


def test_hashed_names_and_the_one_key_type_we_know(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The server prefers ed25519, the file knows ecdsa: ssh(1) asks for what it knows, and so do we."""
    server = serve("HostKey DIR/ed25519\nHostKey DIR/ecdsa\n")
    known = tmp_path / "known_hosts"
    known.write_text(f"[{server.machine.address}]:{server.port} {server.key('ecdsa')}\n")
    _keygen("-H", "-f", str(known))
    assert server.machine.address not in known.read_text()
    opened = server.connect(known_hosts=[known])
    assert opened.run(["true"]).status == 0
    opened.close()


@pytest.mark.parametrize(
    ("options", "line", "refusal"),
    [
        pytest.param(("-n", "{address}"), "@cert-authority * {ca}", "", id="trusted"),
        pytest.param((), "@cert-authority {address} {ca}", "", id="for-every-host"),
        pytest.param(("-n", "elsewhere"), "@cert-authority * {ca}", "it is for elsewhere", id="another-host"),
        pytest.param(("-V", "20200101:20210101"), "@cert-authority * {ca}", "not valid at this time", id="expired"),
        pytest.param((), "@cert-authority * {other}", "no @cert-authority line trusts", id="unknown-authority"),
        pytest.param((), "@cert-authority * {ca}\n@revoked * {ca}", "revoked", id="revoked-authority"),
        pytest.param((), "@cert-authority elsewhere {ca}", "nobody has vouched", id="authority-of-other-hosts"),
        pytest.param((), "{address},{name} {host}\n@cert-authority * {other}", "", id="plain-key-known-as-well"),
    ],
)
def test_host_certificates(
    serve: Callable[..., Server],
    keys: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    line: str,
    refusal: str,
    machine: Any,
) -> None:
    sign = tuple(option.format(address=machine.address) for option in options)
    server = serve("HostKey DIR/ed25519\nHostCertificate DIR/ed25519-cert.pub\n", sign)
    public = {name: " ".join((keys / f"{name}.pub").read_text().split()[:2]) for name in ("ca", "other")}
    name = hostkeys.lookup_name(machine.address, server.port)
    known = tmp_path / "known_hosts"
    known.write_text(line.format(**public, address=machine.address, name=name, host=server.key()) + "\n")
    opened = server.connect(known_hosts=[known])
    if refusal:
        with pytest.raises(Unreachable, match=refusal):
            opened.run(["true"])
    else:
        assert opened.run(["true"]).status == 0
    opened.close()


# --- who we are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "mode", "said"),
    [
        pytest.param("missing", 0o600, "does not exist", id="missing"),
        pytest.param("other", 0o600, "no key was accepted", id="not-authorised"),
        pytest.param("user", 0o644, "chmod 600", id="readable-by-others"),
        pytest.param("user.pub", 0o600, "is a public key", id="public"),
        pytest.param("locked", 0o600, "ssh-add", id="passphrase"),
    ],
)
def test_a_login_that_fails_says_why(
    serve: Callable[..., Server], keys: Path, monkeypatch: pytest.MonkeyPatch, identity: str, mode: int, said: str
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server = serve()
    file = keys / identity
    if file.exists():
        file.chmod(mode)
    try:
        with pytest.raises(Unreachable) as caught:
            server.connect(identity=file, host_key=server.key()).run(["true"])
        assert said in caught.value.message and "\n" not in caught.value.message
    finally:
        if file.exists():
            file.chmod(0o600)


def test_an_agent_opens_a_locked_key(
    serve: Callable[..., Server], keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    agent_socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(agent_socket)], stdout=subprocess.DEVNULL)
    try:
        until(agent_socket.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent_socket))
        ask = tmp_path / "ask"
        ask.write_text("#!/bin/sh\necho 'open sesame'\n")
        ask.chmod(0o700)
        environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        subprocess.run(["ssh-add", "-q", str(keys / "locked")], env=environment, check=True, stdin=subprocess.DEVNULL)
        for identity in (keys / "locked", None):
            opened = server.connect(identity=identity, host_key=server.key())
            assert opened.run(["true"]).status == 0
            opened.close()
    finally:
        agent.terminate()
        agent.wait()


# --- trouble -------------------------------------------------------------------------------------------------------


def test_more_connections_at_once_than_sshd_takes(serve: Callable[..., Server]) -> None:
    server = serve("MaxStartups 3:100:3\n")
    key = server.key()
    opened = [server.connect(host_key=key, connect_timeout=20.0) for _ in range(16)]
    results: list[int] = []
    threads = [threading.Thread(target=lambda t=t: results.append(t.run(["true"]).status)) for t in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in opened:
        each.close()
    assert results == [0] * 16


def test_a_lost_connection_stays_lost(serve: Callable[..., Server]) -> None:
    server = serve()
    opened = server.connect(host_key=server.key())
    assert opened.run(["true"]).status == 0
    heard: list[NodeError] = []

    def sleep() -> None:
        try:
            opened.run(["sleep", "30"])
        except NodeError as error:
            heard.append(error)

    running = threading.Thread(target=sleep)
    running.start()
    time.sleep(0.3)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="was lost"):
        opened.run(["sh", "-c", f"{TO_SSHD}; kill -9 $pid"])
    running.join(5)
    assert not running.is_alive() and time.monotonic() - began < 5
    assert [type(error) for error in heard] == [Unreachable]
    with pytest.raises(Unreachable, match="was lost"):
        opened.run(["true"])
    opened.close()


def test_a_machine_that_accepts_and_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        began = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            SshTransport("n", "127.0.0.1", silent.getsockname()[1], connect_timeout=1.5).run(["true"])
        assert time.monotonic() - began < 4 and "127.0.0.1" in caught.value.message


def test_nothing_is_ever_written_to_stderr() -> None:
    """paramiko's threads print tracebacks of their own unless they are told not to."""
    script = """
import socket, threading
from ktool.node.base import Unreachable
from ktool.node.reach.ssh import SshTransport
def server(answer):
    listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(8)
    def serve():
        while True:
            sock, _ = listener.accept(); sock.sendall(answer); sock.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]
for answer in (
    b"", b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n", b"SSH-2.0-x\\r\\n", b"SSH-2.0-x\\r\\n" + b"\\0" * 64,
    b"SSH-1.5-old\\r\\n",
):
    try:
        SshTransport("n", "127.0.0.1", server(answer), connect_timeout=1).run(["true"])
    except Unreachable as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
    assert len(done.stdout.splitlines()) == 5, done.stdout
