"""Encryption at rest: confidential members of a body are written as AES-256-GCM ciphertext.

store/transaction seals and store/rows opens; app.py makes the Seal. Each record has a random key of its own, wrapped by
the secret key. The ciphertext is bound to everything beside it in the clear (kind, namespace, name, uid, revision,
labels, ...), so swapped, edited and truncated records are detected. The store does not know what a Secret is: it is
given key prefixes and member names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ktool.api.errors import ApiError
from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj, meta
from ktool.api.ref import Ref
from ktool.importing import IMPORTING
from ktool.store.sealing.keyring import KeyProblem, KeyRing

VERSION = 2
"""Of an envelope. One of version 1 names its record by the key of database format 1, which had no group."""
SEALED = "sealed"
NONCE = 12


class Tampered(Exception):
    """A record that differs from the one written. The message says how."""


class Seal:
    """Encrypts and decrypts bodies. `members` maps a key prefix to the confidential members of those objects.
    `cryptography` is imported with the first confidential record."""

    def __init__(self, ring: KeyRing, members: Mapping[str, Sequence[str]]) -> None:
        self.ring = ring
        self._members = dict(members)
        self._cipher: Callable[[bytes], Any] | None = None

    def cover(self, members: Mapping[str, Sequence[str]]) -> None:
        """From now on these, and besides them what was covered before: records of a kind that was taken away are still
        sealed."""
        self._members = {**self._members, **members}

    def covers(self, key: str) -> bool:
        return _prefix(key) in self._members

    @property
    def prefixes(self) -> list[str]:
        return list(self._members)

    # --- writing

    def sealed(self, key: str, obj: Obj, key_id: str) -> str:
        """The text of a record, encrypted under the secret key `key_id`. Raises ApiError where the key is not
        available, or where the object itself could not be read: its content must not be overwritten by an empty one."""
        if UNREADABLE in obj:
            raise ApiError(500, "InternalError", f"{Ref.parse(key)} cannot be changed: {obj[UNREADABLE]}")
        members = self._members[_prefix(key)]
        plain = json.dumps({member: obj[member] for member in members if member in obj}, allow_nan=False).encode()
        clear = {name: value for name, value in obj.items() if name not in members}
        envelope = {"v": VERSION, "key": key_id, "of": key, "clear": _digest(clear)}
        bound = _canonical([envelope, clear]).encode()
        own = os.urandom(32)
        wrapped = self._encrypt(self.ring.key(key_id), own, bound)
        data = self._encrypt(own, plain, bound)
        return _canonical({**clear, SEALED: {**envelope, "wrapped": _text(wrapped), "data": _text(data)}})

    # --- reading

    def opened(self, key: str, rv: int, text: str) -> Obj:
        """The object of a record. One that cannot be decrypted comes without its confidential members, with the reason
        under UNREADABLE: the rest of the cluster must go on."""
        body: Any = None
        try:
            try:
                body = json.loads(text)
            except (ValueError, RecursionError):
                raise Tampered("the record was cut short or overwritten (it is no JSON)") from None
            return self._opened(key, rv, body)
        except (Tampered, KeyProblem) as error:
            return _placeholder(key, rv, body, f"{Ref.parse(key)} cannot be decrypted: {error}")

    def _opened(self, key: str, rv: int, body: Any) -> Obj:
        if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
            raise Tampered("the record was overwritten (it is no object)")
        envelope = body.get(SEALED)
        if not isinstance(envelope, dict):
            why = body.get(UNREADABLE)
            raise Tampered(str(why).partition(" cannot be decrypted: ")[2] if why else "the record is not encrypted")
        clear = {name: value for name, value in body.items() if name != SEALED}
        _check(key, rv, clear, envelope)
        bound = _canonical([{name: envelope.get(name) for name in ("v", "key", "of", "clear")}, clear]).encode()
        own = self._decrypt(self.ring.key(str(envelope["key"])), envelope.get("wrapped"), bound)
        plain = self._decrypt(own, envelope.get("data"), bound)
        return {**clear, **json.loads(plain)}

    # --- the cipher

    def _aes(self, key: bytes) -> Any:
        if self._cipher is None:
            with IMPORTING:
                self._cipher = _imported()
        return self._cipher(key)

    def _encrypt(self, key: bytes, plain: bytes, bound: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + bytes(self._aes(key).encrypt(nonce, plain, bound))

    def _decrypt(self, key: bytes, text: Any, bound: bytes) -> bytes:
        aes = self._aes(key)
        from cryptography.exceptions import InvalidTag  # what _aes has imported already

        try:
            data = base64.b64decode(str(text), validate=True)
            return bytes(aes.decrypt(data[:NONCE], data[NONCE:], bound))
        except InvalidTag:
            raise Tampered("its ciphertext was changed, or belongs to another record") from None
        except ValueError:
            raise Tampered("its ciphertext was cut short") from None


def _imported() -> Callable[[bytes], Any]:
    """Import every part of `cryptography` that this program uses, so that no other thread imports one meanwhile (see
    ktool/importing)."""
    import cryptography.hazmat.primitives.asymmetric.x25519
    import cryptography.hazmat.primitives.kdf.hkdf  # noqa: F401
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM


def _check(key: str, rv: int, clear: Obj, envelope: Mapping[str, Any]) -> None:
    """Raise Tampered with a description of the change. The ciphertext only proves that a record is unchanged; the
    description is a guess from the cleartext."""
    if envelope.get("v") not in (1, VERSION):
        raise Tampered(f"it is of format {envelope.get('v')}, this ktool reads {VERSION}")
    if envelope.get("of") != (key if envelope["v"] == VERSION else key.partition("/")[2]):
        raise Tampered(f"it holds the ciphertext of another record ({_named(envelope.get('of'))})")
    if str(meta(clear).get("resourceVersion")) != str(rv):
        raise Tampered(f"it is a record of another time (revision {meta(clear).get('resourceVersion')}, not {rv})")
    if envelope.get("clear") != _digest(clear):
        raise Tampered("its metadata was edited in the database")


def _prefix(key: str) -> str:
    """`core/Secret/` of `core/Secret/default/login`."""
    return "/".join(key.split("/", 2)[:2]) + "/"


def _named(key: Any) -> str:
    parts = str(key).split("/")
    return str(Ref.parse("/".join(["core", *parts][-4:]))) if len(parts) in (3, 4) else "unknown"


def _digest(clear: Obj) -> str:
    return hashlib.sha256(_canonical(clear).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """One text for equal JSON values, in ASCII: half a surrogate pair is no UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _placeholder(key: str, rv: int, body: Any, why: str) -> Obj:
    """The object without its content. Anybody may have written the record, so only its identity is trusted."""
    ref = Ref.parse(key)
    said = meta(body) if isinstance(body, dict) else {}
    metadata = {name: said[name] for name in ("uid", "creationTimestamp") if isinstance(said.get(name), str)}
    metadata |= {"name": ref.name, "resourceVersion": str(rv)}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    return {
        "apiVersion": f"{ref.group}/v1" if ref.group else "v1",
        "kind": ref.kind,
        "metadata": metadata,
        UNREADABLE: why,
    }
