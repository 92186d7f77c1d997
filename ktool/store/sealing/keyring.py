"""Key ring: the keys for encryption at rest. They live outside the database, in one small file beside it.

The file names the source of each key: the file itself, a passphrase (scrypt), the environment variable
KTOOL_SECRET_KEY, or the output of a command that asks a key manager. A key has an id derived from it, so that a wrong
key is noticed before it is used. The file is changed only while the database is locked for writing, by `Store.rekey`
and by the first secret that is written. `seal`, `rekey` and app.py use it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktool.api.errors import ApiError

LENGTH = 32
FORMAT = 1
VARIABLE, OLD_VARIABLE = "KTOOL_SECRET_KEY", "KTOOL_SECRET_KEY_OLD"
PASSPHRASE, NEW_PASSPHRASE = "KTOOL_SECRET_PASSPHRASE", "KTOOL_SECRET_NEW_PASSPHRASE"
COMMAND_SECONDS = 30.0
FAILED_SECONDS = 5.0
"""For how long a key that could not be had is not asked for again: there may be a thousand records under it."""

# What OWASP's Password Storage Cheat Sheet asks of scrypt, with the smaller of its memory sizes.
SCRYPT = {"n": 2**16, "r": 8, "p": 2}


class KeyProblem(ApiError):
    """A key is not available. The message names its id and how to get at it."""

    def __init__(self, message: str) -> None:
        super().__init__(500, "InternalError", message)


def key_id(key: bytes) -> str:
    """The public id of a key, which reveals nothing about it."""
    return hashlib.sha256(b"ktool secret key\0" + key).hexdigest()[:12]


@dataclass(frozen=True)
class Entry:
    """One key in the file. `how` holds the data of its source: the key itself, the salt and cost of scrypt, or a
    command."""

    id: str
    source: str
    how: Mapping[str, Any] = field(default_factory=dict, repr=False)


class KeyRing:
    """The keys of one state directory. `ask` prompts for a passphrase; None where there is no terminal."""

    def __init__(self, file: Path, environment: Mapping[str, str], ask: Callable[[str], str] | None = None) -> None:
        self.file = file
        self._environment, self._ask = environment, ask
        self._known: dict[str, bytes] = {}
        self._failed: dict[str, tuple[float, KeyProblem]] = {}

    # --- having a key

    def key(self, wanted: str) -> bytes:
        """The key with this id. Raises KeyProblem where it is not available."""
        if wanted not in self._known:
            since, problem = self._failed.get(wanted, (-FAILED_SECONDS, None))
            if problem is not None and time.monotonic() - since < FAILED_SECONDS:
                raise problem.with_traceback(None)
            try:
                self._known[wanted] = self._found(wanted)
            except KeyProblem as error:
                self._failed[wanted] = time.monotonic(), error
                raise
        return self._known[wanted]

    def _found(self, wanted: str) -> bytes:
        entries = self.entries()
        entry = next((entry for entry in entries if entry.id == wanted), None)
        if entry is not None:
            return self._of(entry)
        given = self._given()
        if wanted in given:
            return given[wanted]
        if not entries:
            also = f" ({VARIABLE} holds another key)" if given else f", or set {VARIABLE}"
            raise KeyProblem(f"the secret key {wanted} is missing: there is no {self.file}; put it back{also}")
        held = ", ".join(entry.id for entry in entries) or "none"
        raise KeyProblem(f"the secret key {wanted} is missing: {self.file} holds {held}; put the right file back")

    def _of(self, entry: Entry) -> bytes:
        try:
            key = _SOURCES[entry.source](self, entry)
        except (LookupError, ValueError, TypeError, MemoryError):
            raise KeyProblem(f"the secret key {entry.id} stands in {self.file} in a way that makes no sense") from None
        if key_id(key) != entry.id:
            raise KeyProblem(f"{_WRONG[entry.source]} is not the secret key {entry.id}, but {key_id(key)}")
        return key

    def _from_file(self, entry: Entry) -> bytes:
        return _parsed(str(entry.how.get("key", "")), str(self.file))

    def _from_environment(self, entry: Entry) -> bytes:
        given = self._given()
        if not given:
            raise KeyProblem(f"the secret key {entry.id} is missing: set {VARIABLE}, where it came from")
        return given.get(entry.id) or next(iter(given.values()))

    def _given(self) -> dict[str, bytes]:
        """The keys in the environment by id: the current one and, during a rotation, the previous one."""
        texts = {name: self._environment.get(name) for name in (VARIABLE, OLD_VARIABLE)}
        keys = [_parsed(text, name) for name, text in texts.items() if text]
        return {key_id(key): key for key in keys}

    def _from_passphrase(self, entry: Entry) -> bytes:
        cost = {name: int(entry.how[name]) for name in SCRYPT}
        salt = base64.b64decode(str(entry.how["salt"]))
        return _derived(self._passphrase(f"Passphrase of the secret key {entry.id}: ", PASSPHRASE), salt, cost)

    def _from_command(self, entry: Entry) -> bytes:
        return _printed([str(word) for word in entry.how["argv"]])

    def _passphrase(self, prompt: str, variable: str) -> str:
        """The passphrase, from the environment variable, the file that VARIABLE_FILE names, or a prompt."""
        if path := self._environment.get(f"{variable}_FILE"):
            try:
                return Path(path).read_text().rstrip("\r\n")
            except (OSError, ValueError) as error:
                raise KeyProblem(f"{variable}_FILE: {path} cannot be read: {error}") from None
        given = self._environment.get(variable)
        if not given and self._ask is not None:
            given = self._ask(prompt)
        if not given:
            what = prompt[0].lower() + prompt[1:].rstrip(": ")
            raise KeyProblem(f"the {what} is missing: set {variable} or {variable}_FILE")
        return given

    # --- making one

    def made(self, source: str, argv: Sequence[str] = (), *, anew: bool = False) -> Entry:
        """A new key from `source` (file, passphrase, environment or command), not yet in the file. `anew`: it is to
        replace another one."""
        how: dict[str, Any] = {}
        if source == "file":
            key = secrets.token_bytes(LENGTH)
            how = {"key": base64.b64encode(key).decode()}
        elif source == "passphrase":
            salt = secrets.token_bytes(16)
            how = {"salt": base64.b64encode(salt).decode(), **SCRYPT}
            variable = NEW_PASSPHRASE if anew else PASSPHRASE
            key = _derived(self._passphrase("New passphrase: ", variable), salt, SCRYPT)
        elif source == "command":
            how = {"argv": list(argv)}
            key = _printed(argv)
        else:
            key = self._from_environment(Entry("", source))
        self._known[key_id(key)] = key
        return Entry(key_id(key), source, how)

    def first(self) -> str:
        """The id of the key for the first secret: an existing key, or a new one."""
        entries = self.entries()
        if not entries:
            entries = [self.made("environment" if self._environment.get(VARIABLE) else "file")]
            self.write(entries)
        self.key(entries[-1].id)
        return entries[-1].id

    # --- the file

    def entries(self) -> list[Entry]:
        """The entries of the file; none where it does not exist. Raises KeyProblem for a file that others may read."""
        try:
            with self.file.open("rb") as stream:
                if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
                    raise KeyProblem(f"{self.file} can be read by others: `chmod 600 {self.file}`, and rotate the key")
                text = stream.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeyProblem(f"{self.file} cannot be read: {error.strerror}") from None
        try:
            document = json.loads(text)
            entries = [Entry(str(one.pop("id")), str(one.pop("source")), one) for one in document["keys"]]
            sound = int(document["format"]) <= FORMAT and all(entry.source in _SOURCES for entry in entries)
        except (ValueError, LookupError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise KeyProblem(f"{self.file} is no key file of this ktool: put the right one back")
        return entries

    def write(self, entries: Sequence[Entry]) -> None:
        """Replace the file atomically and durably."""
        keys = [{"id": entry.id, "source": entry.source, **entry.how} for entry in entries]
        text = json.dumps({"format": FORMAT, "keys": keys}, indent=1) + "\n"
        new = self.file.with_name(f"{self.file.name}.{secrets.token_hex(4)}.new")
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(self.file)
            folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise KeyProblem(f"{self.file} cannot be written: {error.strerror}") from None


_SOURCES: dict[str, Callable[[KeyRing, Entry], bytes]] = {
    "file": KeyRing._from_file,
    "environment": KeyRing._from_environment,
    "passphrase": KeyRing._from_passphrase,
    "command": KeyRing._from_command,
}
_WRONG = {
    "file": "the key in the file",
    "environment": f"the key in {VARIABLE}",
    "passphrase": "what the passphrase gives",
    "command": "what the command printed",
}


def _derived(passphrase: str, salt: bytes, cost: Mapping[str, int]) -> bytes:
    memory = 160 * cost["n"] * cost["r"]
    return hashlib.scrypt(passphrase.encode("utf-8", "surrogateescape"), salt=salt, dklen=LENGTH, maxmem=memory, **cost)


def _parsed(text: str, where: str) -> bytes:
    """32 bytes in hex or base64."""
    word = text.strip()
    for decode in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            key = decode(word)
        except ValueError:
            continue
        if len(key) == LENGTH:
            return key
    raise KeyProblem(f"{where} holds no key: 32 bytes in base64 or hex, as `openssl rand -base64 32` makes them")


def _printed(argv: Sequence[str]) -> bytes:
    """The output of a key manager's command. Its stderr is shown on failure, its output never."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, ValueError) as error:
        raise KeyProblem(f"the command for the secret key, {argv[0]}, cannot be run: {error}") from None
    except subprocess.TimeoutExpired:
        raise KeyProblem(f"the command for the secret key, {argv[0]}, did not end in {COMMAND_SECONDS:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        why = f": {said[0]}" if said else ""
        raise KeyProblem(f"the command for the secret key, {argv[0]}, failed with exit code {done.returncode}{why}")
    if len(done.stdout) == LENGTH:
        return done.stdout
    return _parsed(done.stdout.decode(errors="replace"), f"the output of {argv[0]}")
