"""SSH identities: the private keys to log in with. An explicit file, else the agent's keys, else the user's default
keys.

node/reach/ssh asks for them.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import paramiko

DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


class IdentityError(Exception):
    """A key cannot be used; one sentence with the fix."""


def candidates(identity: str | Path | None) -> Iterator[tuple[paramiko.PKey, str]]:
    """Keys to try in order, each with its origin. Raises IdentityError where an explicit file cannot be used or no key
    was found."""
    if identity:
        yield _explicit(Path(identity).expanduser())
        return
    locked: list[Path] = []
    found = 0
    for key in _agent_keys():
        found += 1
        yield key, "the SSH agent"
    for path in default_files():
        try:
            key = load(path)
        except paramiko.PasswordRequiredException:
            locked.append(path)
            continue
        found += 1
        yield key, str(path)
    if not found and locked:
        raise IdentityError(_locked_message(locked[0]))
    if not found:
        raise IdentityError("there is no key to log in with: no SSH agent and no ~/.ssh/id_*; give --identity FILE")


def default_files() -> list[Path]:
    return [path for name in DEFAULT_NAMES if (path := Path.home() / ".ssh" / name).is_file()]


def load(path: Path) -> paramiko.PKey:
    """Load a private key file. Raises PasswordRequiredException where it has a passphrase, else IdentityError."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise IdentityError(f"{path} is a directory, not a private key")
        text = path.read_bytes()
    except FileNotFoundError:
        raise IdentityError(f"{path} does not exist") from None
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    if text.startswith((b"ssh-", b"ecdsa-")):
        raise IdentityError(f"{path} is a public key; the private one is its neighbour without .pub")
    if b"PRIVATE KEY" not in text:
        raise IdentityError(f"{path} is not a private key")
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise IdentityError(f"{path} is readable by others, which ssh refuses too: chmod 600 {path}")
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError) as error:  # cryptography says TypeError for a passphrase
        raise paramiko.PasswordRequiredException(str(error)) from None
    except Exception as error:  # parsers below raise many kinds; the meaning is always the same
        raise IdentityError(f"{path} is not a private key that can be used ({type(error).__name__})") from None


def _explicit(path: Path) -> tuple[paramiko.PKey, str]:
    try:
        return load(path), str(path)
    except paramiko.PasswordRequiredException:
        wanted = _public_blob(path)
        for key in _agent_keys():
            if wanted is not None and key.asbytes() == wanted:
                return key, f"the SSH agent (for {path})"
    raise IdentityError(_locked_message(path))


def _locked_message(path: Path) -> str:
    return f"{path} has a passphrase and no SSH agent holds it: run ssh-add {path}"


def _public_blob(path: Path) -> bytes | None:
    try:
        words = path.with_name(path.name + ".pub").read_text().split()
        return base64.b64decode(words[1])
    except (OSError, IndexError, ValueError):
        return None


def _agent_keys() -> tuple[paramiko.PKey, ...]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return ()
    try:
        return tuple(paramiko.Agent().get_keys())
    except (OSError, paramiko.SSHException):
        return ()
