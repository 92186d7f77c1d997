"""Host keys: known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") and the verdict on a presented key.

Opens no connection; node/reach/ssh and handshake ask `judge` about the key a server showed.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SYSTEM_FILES = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file. `marker` is "", "@cert-authority" or "@revoked"; `blob` is the public key in
    SSH's wire format."""

    marker: str
    patterns: tuple[str, ...]
    type: str
    blob: bytes
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"

    def matches(self, name: str) -> bool:
        """Whether the line matches the host (a name from `lookup_name`). A negated pattern wins."""
        found = False
        for pattern in self.patterns:
            if pattern.startswith("|"):
                found = found or _hashed(pattern, name)
            elif pattern.startswith("!"):
                if _glob(pattern[1:], name):
                    return False
            else:
                found = found or _glob(pattern, name)
        return found


@dataclass(frozen=True)
class Verdict:
    """The verdict on a presented key. `ok` only for a key that a line names for this host. Otherwise `reason` is
    unknown, changed or revoked, and `entry` the line that contradicts it (None for unknown)."""

    ok: bool
    reason: str = ""
    entry: Entry | None = None


def files() -> tuple[Path, ...]:
    """The known_hosts files that ssh(1) reads, the user's first."""
    home = Path.home() / ".ssh"
    return (home / "known_hosts", home / "known_hosts2", *SYSTEM_FILES)


def read(paths: Iterable[Path]) -> list[Entry]:
    """All valid lines of these files; a missing or unreadable file has none."""
    found: list[Entry] = []
    for path in paths:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        found += parse(text, str(path))
    return found


def parse(text: str, file: str) -> list[Entry]:
    """The lines of one known_hosts file. Invalid lines are skipped, as ssh(1) does."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if marker not in ("", "@cert-authority", "@revoked") or len(words) < 3:
            continue
        blob = _decode(words[2])
        if blob:
            found.append(Entry(marker, tuple(words[0].split(",")), words[1], blob, file, number))
    return found


def lookup_name(host: str, port: int) -> str:
    """The host's name in known_hosts: plain at port 22, "[host]:port" elsewhere; always lower case."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def of_host(entries: Iterable[Entry], host: str, port: int) -> list[Entry]:
    """The lines that match this host, in the files' order. A certificate authority for a plain name counts at every
    port, as in ssh(1)."""
    name = lookup_name(host, port)
    return [
        entry
        for entry in entries
        if entry.matches(name) or (entry.marker == "@cert-authority" and entry.matches(host.lower()))
    ]


def judge(entries: Sequence[Entry], blob: bytes) -> Verdict:
    """The verdict on a plain key (not a certificate), given the lines of its host.

    A key is "changed" where lines name other keys of that host and none names this one. Certificate authorities say
    nothing about plain keys.
    """
    revoked = next((e for e in entries if e.marker == "@revoked" and e.blob == blob), None)
    if revoked is not None:
        return Verdict(False, "revoked", revoked)
    plain = [entry for entry in entries if not entry.marker]
    if any(entry.blob == blob for entry in plain):
        return Verdict(True)
    same_type = [entry for entry in plain if entry.type == key_type(blob)]
    if plain:
        return Verdict(False, "changed", (same_type or plain)[0])
    return Verdict(False, "unknown")


def pinned(text: str) -> Entry:
    """A pin "ssh-ed25519 AAAA..." as a line that matches every host. Raises ValueError for an invalid public key."""
    words = text.split()
    blob = _decode(words[1]) if len(words) >= 2 else b""
    if not blob or key_type(blob) != words[0]:
        raise ValueError(f"{text!r} is not a public key (want: ssh-ed25519 AAAA...)")
    return Entry("", ("*",), words[0], blob, "ktool.dev/host-key", 0)


def key_type(blob: bytes) -> str:
    """The key type in a public key blob (RFC 4253, section 6.6)."""
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length].decode("ascii", "replace")


def fingerprint(blob: bytes) -> str:
    """SHA256:..., as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def text_of(blob: bytes) -> str:
    """A public key in the text form of files: type and base64."""
    return f"{key_type(blob)} {base64.b64encode(blob).decode()}"


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hashed(pattern: str, name: str) -> bool:
    """HashKnownHosts: |1|base64(salt)|base64(HMAC-SHA1(salt, name))."""
    parts = pattern.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    salt, digest = _decode(parts[2]), _decode(parts[3])
    return bool(salt) and hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def _glob(pattern: str, name: str) -> bool:
    """'*' and '?' only: the brackets of "[host]:port" stand for themselves."""
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))
