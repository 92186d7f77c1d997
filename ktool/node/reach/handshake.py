"""SSH handshake: paramiko's transport with one more channel type, and the host key decision. node/reach/ssh uses it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import paramiko

from ktool.node.reach import hostcert, hostkeys

_STREAMLOCAL = "direct-streamlocal@openssh.com"


class HostKeyRefused(Exception):
    """The server's key is not the expected one; the message names the expected one and the fix."""


class HostKeyUnknown(HostKeyRefused):
    """No known_hosts line matches this server."""


class Client(paramiko.Transport):
    """paramiko's Transport, able to open a channel to a unix socket (OpenSSH's PROTOCOL, section 2.4).

    paramiko builds the open request in one function and lets only known channel types add their fields to it. The
    request is handed to _send_user_message by the thread that opens the channel, so the fields are added there.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._opening = threading.local()

    def open_streamlocal(self, path: str, timeout: float) -> paramiko.Channel:
        """A channel to the unix socket `path` on the server. Raises ChannelException where sshd refuses."""
        self._opening.path = path
        try:
            return self.open_channel(_STREAMLOCAL, timeout=timeout)
        finally:
            self._opening.path = None

    def _send_user_message(self, data: paramiko.Message) -> None:
        path = getattr(self._opening, "path", None)
        if path is not None:
            self._opening.path = None
            data.add_string(path)
            data.add_string("")  # reserved
            data.add_int(0)  # reserved
        super()._send_user_message(data)  # type: ignore[misc]


def preferred_key_types(entries: Sequence[hostkeys.Entry], supported: Sequence[str]) -> tuple[str, ...]:
    """Host key types in order of preference: first those we can verify, as ssh(1) does (HostKeyAlgorithms). Without
    this a server that also has a newer key would show one that known_hosts lacks. `supported` are plain key types."""
    known: list[str] = []
    for entry in entries:
        if entry.marker == "@cert-authority":
            known += [name + hostcert.SUFFIX for name in supported]
        elif not entry.marker:
            known += ["rsa-sha2-512", "rsa-sha2-256"] if entry.type == "ssh-rsa" else [entry.type]
    plain = [name for name in known if name in supported or name.endswith(hostcert.SUFFIX)]
    return tuple(dict.fromkeys([*plain, *supported]))


def check_host_key(client: Client, entries: Sequence[hostkeys.Entry], host: str, port: int, node: str) -> None:
    """Raises HostKeyRefused unless the key that the server showed (and proved to hold) is an expected one."""
    key = client.get_remote_server_key()
    certificate = key.public_blob.key_blob if key.public_blob is not None else b""
    if certificate and _vouched_for(certificate, entries, host, plain=key.asbytes()):
        return
    blob = key.asbytes()
    verdict = hostkeys.judge(entries, blob)
    if verdict.ok:
        return
    shown = f"{hostkeys.key_type(blob)} {hostkeys.fingerprint(blob)}"
    if verdict.reason == "unknown":
        raise HostKeyUnknown(
            f"nobody has vouched for the host key of {host}:{port}, {shown}: compare it with what the machine says "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then accept it with --accept-new-host-keys"
        )
    assert verdict.entry is not None
    if verdict.reason == "revoked":
        raise HostKeyRefused(f"the host key of {host}:{port}, {shown}, is revoked by {verdict.entry.where}")
    old = f"{hostkeys.key_type(verdict.entry.blob)} {hostkeys.fingerprint(verdict.entry.blob)}"
    raise HostKeyRefused(
        f"the host key of {host}:{port} has changed: it shows {shown}, expected is {old} "
        f"({_where(verdict.entry, node)}). "
        f"Someone may be listening in; only if the machine was reinstalled, {_fix(verdict.entry, host, port, node)}"
    )


def _where(entry: hostkeys.Entry, node: str) -> str:
    return entry.where if entry.line else f"annotation {entry.file} of node {node}"


def _fix(entry: hostkeys.Entry, host: str, port: int, node: str) -> str:
    if entry.line:
        return f"remove the line: ssh-keygen -R '{hostkeys.lookup_name(host, port)}' -f {entry.file}"
    return f"correct the annotation {entry.file} of node {node}"


def _vouched_for(certificate: bytes, entries: Sequence[hostkeys.Entry], host: str, plain: bytes) -> bool:
    """Whether the certificate is trusted. If it is not, the key in it may still be known by itself, as in ssh(1)."""
    try:
        hostcert.check(certificate, [entry for entry in entries if entry.marker], host)
        return not any(entry.marker == "@revoked" and entry.blob == plain for entry in entries)
    except hostcert.CertificateRefused as error:
        if hostkeys.judge(entries, plain).ok:
            return False
        raise HostKeyRefused(f"the host certificate of {host} is refused: {error}") from None
