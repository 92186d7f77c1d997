"""SshTransport: the transport to a machine over one SSH connection, with commands and streams as channels on it.

node/connect makes it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from ktool.node.base import Completed, NodeError, Unreachable
from ktool.node.reach import hostkeys, identity
from ktool.node.reach.handshake import Client, HostKeyRefused, HostKeyUnknown, check_host_key, preferred_key_types
from ktool.node.reach.quote import command_line
from ktool.node.reach.stream import ChannelStream

# paramiko logs tracebacks of its threads to stderr when nobody listens; what matters is raised as an exception here.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

SESSIONS = 8
"""Commands at a time on one connection. sshd's MaxSessions is 10 (sshd_config(5)); forwarded streams do not count."""

_CONNECTING = threading.BoundedSemaphore(8)
"""Handshakes at a time in this process: sshd drops new ones above MaxStartups 10:30:100, and each costs CPU here."""

_BROKEN = (OSError, EOFError, paramiko.SSHException)


@dataclass(frozen=True)
class Login:
    """Credentials and host key policy of an SSH connection. `host_key` is a pin ("ssh-ed25519 AAAA..."); without one,
    `known_hosts` files decide (default: those of ssh(1)), and `accept_new_host_key` trusts a key for which there is no
    line (StrictHostKeyChecking accept-new; never a changed one)."""

    user: str = "root"
    identity: str | Path | None = None
    host_key: str = ""
    known_hosts: Sequence[Path] | None = None
    accept_new_host_key: bool = False


class SshTransport:
    """Implements base.Transport over one SSH connection, opened at first use. A lost connection stays lost (every call
    raises Unreachable), so that the caller must claim the node again over a new transport. Where the user is not root,
    commands run through `sudo -n`. Thread-safe."""

    def __init__(
        self,
        node: str,
        host: str,
        port: int = 22,
        login: Login = Login(),
        *,
        connect_timeout: float = 15.0,
    ) -> None:
        self.node, self.host, self.port, self.user = node, host, port, login.user
        self._identity, self._host_key = login.identity, login.host_key
        self._known_hosts = hostkeys.files() if login.known_hosts is None else login.known_hosts
        self._accept_new, self._connect_timeout = login.accept_new_host_key, connect_timeout
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._sessions = threading.BoundedSemaphore(SESSIONS)
        self._closed = False
        self._streamlocal = self.user == "root"

    # --- Transport ---------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        step = argv[0] if argv else "run"
        # timeout(1) ends there what we have given up here: otherwise it would go on, and keep one of sshd's sessions.
        command = command_line(self._as_root(["timeout", "-s", "KILL", str(math.ceil(timeout) + 1), *argv]))
        deadline = time.monotonic() + timeout
        with self._session(step, deadline) as channel:
            try:
                self._exec(channel, command, deadline)
                return _talk(channel, stdin, deadline)
            except TimeoutError:
                raise NodeError(self.node, step, f"{step} on {self.node} did not end within {timeout:g} s") from None
            except _BROKEN as error:
                raise self._broken(step, error) from None

    def connect_unix(self, path: str, *, timeout: float = 10.0) -> socket.socket:
        """A stream through sshd's own socket forwarding; where it refuses (not root, or AllowStreamLocalForwarding no),
        `podman system dial-stdio` carries the bytes, which costs a process and about 0.2 s of CPU per stream."""
        deadline = time.monotonic() + timeout
        if self._streamlocal:
            try:
                return self._direct(lambda client, left: client.open_streamlocal(path, left), path, deadline)
            except NodeError:
                if self.run(["test", "-S", path], timeout=max(0.1, deadline - time.monotonic())).status != 0:
                    raise NodeError(self.node, "connect", f"there is no socket {path} on {self.node}") from None
                self._streamlocal = False
        return self._dial_stdio(path, deadline)

    def connect_tcp(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        deadline = time.monotonic() + timeout
        return self._direct(
            lambda client, left: client.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=left),
            f"{host}:{port}",
            deadline,
        )

    def server_key(self) -> str:
        """The server's key in the form of a pin ("ssh-ed25519 AAAA..."); "" where a certificate vouched for it, because
        certificates are to be verified at each connect."""
        key = self._connected("connect").get_remote_server_key()
        return "" if key.public_blob is not None else hostkeys.text_of(key.asbytes())

    def close(self) -> None:
        self._closed = True
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*_BROKEN):
                client.close()

    # --- channels ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _session(self, step: str, deadline: float) -> Iterator[paramiko.Channel]:
        channel = self._open_session(step, deadline)
        try:
            yield channel
        finally:
            with contextlib.suppress(*_BROKEN):
                channel.close()
            self._sessions.release()

    def _open_session(self, step: str, deadline: float) -> paramiko.Channel:
        client = self._connected(step)
        if not self._sessions.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise NodeError(self.node, step, f"{step} on {self.node}: {SESSIONS} commands are running there already")
        try:
            while True:
                try:
                    return client.open_session(timeout=max(0.1, deadline - time.monotonic()))
                except paramiko.SSHException:
                    # sshd counts a session until it has buried the command, a moment after we have heard of its end.
                    if time.monotonic() + 0.05 > deadline or not client.is_active():
                        raise
                    time.sleep(0.05)
        except _BROKEN as error:
            self._sessions.release()
            raise self._broken(step, error) from None

    def _exec(self, channel: paramiko.Channel, command: str, deadline: float) -> None:
        # exec_command waits for sshd's answer without a deadline of its own; closing the channel wakes it.
        late = threading.Event()

        def give_up() -> None:
            late.set()
            channel.close()

        timer = threading.Timer(max(0.0, deadline - time.monotonic()), give_up)
        timer.daemon = True
        timer.start()
        try:
            channel.exec_command(command)
        except paramiko.SSHException:
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    def _direct(
        self, open_channel: Callable[[Client, float], paramiko.Channel], what: str, deadline: float
    ) -> socket.socket:
        client = self._connected("connect")
        try:
            channel = open_channel(client, max(0.1, deadline - time.monotonic()))
        except paramiko.ChannelException:
            raise NodeError(self.node, "connect", f"{what} cannot be reached from {self.node}") from None
        except _BROKEN as error:
            raise self._broken("connect", error) from None
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        return ChannelStream(channel)  # type: ignore[return-value]  # the part of a socket that is used

    def _dial_stdio(self, path: str, deadline: float) -> socket.socket:
        channel = self._open_session("connect", deadline)
        stream = ChannelStream(channel, self._sessions.release)
        argv = self._as_root(["podman", "--url", f"unix://{path}", "system", "dial-stdio"])
        try:
            self._exec(channel, command_line(argv), deadline)
        except TimeoutError:
            stream.abort()
            raise NodeError(self.node, "connect", f"podman on {self.node} did not answer in time") from None
        except _BROKEN as error:
            stream.abort()
            raise self._broken("connect", error) from None
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        return stream  # type: ignore[return-value]

    def _as_root(self, argv: Sequence[str]) -> list[str]:
        return list(argv) if self.user == "root" else ["sudo", "-n", "--", *argv]

    def _broken(self, step: str, error: BaseException) -> NodeError:
        """The exception for an error on a channel: the connection is gone, or sshd refused this channel."""
        client = self._client
        if client is None or isinstance(error, EOFError) or not client.is_active():
            return Unreachable(self.node, step, f"the SSH connection to {self.node} was lost")
        return NodeError(self.node, step, f"sshd on {self.node} refused a channel ({error})")

    # --- connection --------------------------------------------------------------------------------------------------

    def _connected(self, step: str) -> Client:
        client = self._client
        if client is None:
            with self._lock:
                if self._closed:
                    raise Unreachable(self.node, step, f"the SSH connection to {self.node} is closed")
                if self._client is None:
                    self._client = self._connect()
                client = self._client
        if not client.is_active():
            raise Unreachable(self.node, step, f"the SSH connection to {self.node} was lost")
        return client

    def _connect(self) -> Client:
        where = f"{self.node} ({self.host}:{self.port})"
        deadline = time.monotonic() + self._connect_timeout
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._handshake(deadline)
            except HostKeyRefused as error:
                raise self._unreachable(str(error)) from None
            except identity.IdentityError as error:
                raise self._unreachable(f"cannot log in to {where} as {self.user}: {error}") from None
            except paramiko.AuthenticationException as error:
                raise self._unreachable(f"{where} refused the login as {self.user}: {_auth_hint(error)}") from None
            except socket.gaierror:
                raise self._unreachable(f"the host name {self.host} of node {self.node} is not known") from None
            except TimeoutError:
                raise self._unreachable(f"{where} did not answer within {self._connect_timeout:g} s") from None
            except (paramiko.SSHException, EOFError, ConnectionResetError) as error:
                # sshd drops connections above MaxStartups before it says who it is (sshd_config(5)).
                pause = random.uniform(0.1, 0.3) * 2 ** min(attempt, 4)
                if isinstance(error, paramiko.ssh_exception.IncompatiblePeer) or time.monotonic() + pause > deadline:
                    raise self._unreachable(f"the SSH handshake with {where} failed: {error or 'it hung up'}") from None
                time.sleep(pause)
            except OSError as error:
                raise self._unreachable(f"cannot reach {where}: {error.strerror or error}") from None

    def _unreachable(self, message: str) -> Unreachable:
        return Unreachable(self.node, "connect", message)

    def _handshake(self, deadline: float) -> Client:
        if not _CONNECTING.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        try:
            entries = self._entries()
            client = open_client(self.host, self.port, deadline, entries)
            try:
                try:
                    check_host_key(client, entries, self.host, self.port, self.node)
                except HostKeyUnknown:
                    if not self._accept_new:
                        raise
                self._log_in(client, deadline)
                client.set_keepalive(15)
                return client
            except BaseException:
                client.close()
                raise
        finally:
            _CONNECTING.release()

    def _entries(self) -> list[hostkeys.Entry]:
        if not self._host_key:
            return hostkeys.of_host(hostkeys.read(self._known_hosts), self.host, self.port)
        try:
            return [hostkeys.pinned(self._host_key)]
        except ValueError as error:
            raise HostKeyRefused(f"the pinned host key of {self.node} cannot be used: {error}") from None

    def _log_in(self, client: Client, deadline: float) -> None:
        refused: paramiko.AuthenticationException | None = None
        for key, _ in identity.candidates(self._identity):
            client.auth_timeout = max(0.1, deadline - time.monotonic())
            try:
                client.auth_publickey(self.user, key)
                return
            except paramiko.AuthenticationException as error:
                refused = error
                if not client.is_active():  # "Too many authentication failures": MaxAuthTries
                    break
        raise refused or paramiko.AuthenticationException("no key was offered")


def open_client(host: str, port: int, deadline: float, entries: Sequence[hostkeys.Entry] = ()) -> Client:
    """Connect TCP and exchange keys; nothing is verified or logged in yet. `entries`: the lines of this host, for the
    order of key types. Raises OSError, EOFError, SSHException."""
    sock = socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic()))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A peer that vanished is noticed when a keepalive stays unanswered this long (tcp(7)), not in 15 minutes.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
        client = Client(sock)
    except BaseException:
        sock.close()
        raise
    left = max(0.1, deadline - time.monotonic())
    client.banner_timeout = client.handshake_timeout = left
    try:
        options = client.get_security_options()
        options.key_types = preferred_key_types(entries, options.key_types)
        client.start_client(timeout=left)
        if not client.initial_kex_done:
            raise TimeoutError
        return client
    except BaseException:
        client.close()
        raise


def _auth_hint(error: paramiko.AuthenticationException) -> str:
    if isinstance(error, paramiko.BadAuthenticationType) and "publickey" not in error.allowed_types:
        return f"it takes no keys, only {', '.join(error.allowed_types)}"
    if "timeout" in str(error).lower():
        return "it did not answer in time"
    return "no key was accepted; put your public key into its authorized_keys or give --identity FILE"


def _talk(channel: paramiko.Channel, stdin: bytes, deadline: float) -> Completed:
    """Send stdin and read stdout and stderr concurrently until the command has ended. Draining before the exit status
    is read matters: sshd stops sending anything, the status included, when a window of 2 MiB is full."""
    out: list[bytes] = []
    errors: list[bytes] = []
    pending = memoryview(stdin)
    channel.setblocking(False)
    descriptor = channel.fileno()
    if not stdin:
        channel.shutdown_write()
    while True:
        moved = False
        while channel.recv_ready():
            out.append(channel.recv(1 << 20))
            moved = True
        while channel.recv_stderr_ready():
            errors.append(channel.recv_stderr(1 << 20))
            moved = True
        if pending:
            pending, sent = _feed(channel, pending)
            moved = moved or sent
        if moved:
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if channel.eof_received or channel.closed:
            break
        # A full send window does not show on the descriptor, so it is looked at again soon.
        select.select([descriptor], [], [], min(left, 0.005) if pending else left)
    if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    while channel.recv_ready():
        out.append(channel.recv(1 << 20))
    while channel.recv_stderr_ready():
        errors.append(channel.recv_stderr(1 << 20))
    status = channel.recv_exit_status()
    if status < 0 and not channel.eof_received:  # sshd ends every output before it closes, also after a signal
        raise EOFError("connection lost")
    return Completed(status, b"".join(out), b"".join(errors))


def _feed(channel: paramiko.Channel, pending: memoryview) -> tuple[memoryview, bool]:
    try:
        count = channel.send(bytes(pending[: 1 << 16]))
    except TimeoutError:  # the window is full
        return pending, False
    except OSError:  # the command reads no more; its exit status says the rest
        return pending[:0], False
    if count == len(pending):
        channel.shutdown_write()
    return pending[count:], True
