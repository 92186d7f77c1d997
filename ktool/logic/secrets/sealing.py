"""Sealing: encryption of Secret values to a cluster's public key, so that the file can be kept in git.

`secret seal` seals, kinds/sealedsecret opens. Each value is a hybrid ciphertext: an ephemeral X25519 key and the
cluster's key give, through HKDF-SHA256, an AES-256-GCM key. A value is bound to namespace, name and key: it opens
nowhere else (strict scope).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ktool.api.marks import SEALED_VERSION
from ktool.api.masked import Masked
from ktool.api.obj import Obj, get, name, namespace
from ktool.api.ref import SECRET, Ref

KEY_NAMESPACE, KEY_NAME = "kube-system", "sealing-key"
KEY_REF = Ref(SECRET, KEY_NAMESPACE, KEY_NAME)
PRIVATE = "private"

VERSION = b"\x01"
SIZE = 32
_TAG = 16


class SealError(Exception):
    """A sealed value cannot be opened. The message says why."""


def key_id(public: bytes) -> str:
    """The id of a public key."""
    return hashlib.sha256(public).hexdigest()[:12]


def public_text(public: bytes) -> str:
    """A public key as a line of text."""
    return f"ktool-sealing-key {base64.b64encode(public).decode()}"


def public_of(text: str) -> bytes:
    """The public key in such a line. Raises SealError."""
    word, _, encoded = text.strip().partition(" ")
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        key = b""
    if word != "ktool-sealing-key" or len(key) != SIZE:
        raise SealError("this is no sealing key: `ktool secret seal --fetch-key` prints the cluster's")
    return key


def public_from(private: Masked) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private.reveal()).public_key().public_bytes_raw()


def sealed(value: Masked, public: bytes, scope: str, random: Masked) -> str:
    """A value sealed for one scope, in base64. `random` are 32 bytes that are used for nothing else."""
    own = public_from(random)
    cipher, nonce = _cipher(random, public, own, public)
    return base64.b64encode(VERSION + own + cipher.encrypt(nonce, value.reveal(), scope.encode())).decode()


def opened(text: str, private: Masked, scope: str) -> Masked:
    """The value. Raises SealError where it was sealed for another key or scope, or was changed."""
    from cryptography.exceptions import InvalidTag

    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise SealError("is no base64") from None
    if data[:1] != VERSION or len(data) < 1 + SIZE + _TAG:
        raise SealError("is no sealed value of this version")
    own, rest = data[1 : 1 + SIZE], data[1 + SIZE :]
    try:
        cipher, nonce = _cipher(private, own, own, public_from(private))
        return Masked(cipher.decrypt(nonce, rest, scope.encode()))
    except (InvalidTag, ValueError):
        raise SealError("was sealed for another name, namespace, key or cluster, or was changed") from None


def scope(namespace: str, name: str, key: str) -> str:
    return f"{namespace}/{name}/{key}"


def _cipher(private: Masked, peer: bytes, own: bytes, public: bytes) -> tuple[Any, bytes]:
    """Cipher and nonce. The key is used once, so the nonce may be derived from it."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    shared = X25519PrivateKey.from_private_bytes(private.reveal()).exchange(X25519PublicKey.from_public_bytes(peer))
    derived = HKDF(SHA256(), 44, salt=own + public, info=b"ktool.dev SealedSecret 1").derive(shared)
    return AESGCM(derived[:32]), derived[32:]


# --- whole objects -----------------------------------------------------------------------------------------------


def sealed_secret(secret: Obj, held: Mapping[str, Masked], public: bytes, random: Mapping[str, Masked]) -> Obj:
    """The SealedSecret for a Secret with the values `held`; `random` has 32 bytes for each key."""
    place = namespace(secret), name(secret)
    encrypted = {key: sealed(value, public, scope(*place, key), random[key]) for key, value in held.items()}
    template: Obj = {"type": secret.get("type") or "Opaque"}
    if secret.get("immutable"):
        template["immutable"] = True
    notes = {word: found for word in ("labels", "annotations") if (found := get(secret, "metadata", word))}
    if notes:
        template["metadata"] = notes
    return {
        "apiVersion": SEALED_VERSION,
        "kind": "SealedSecret",
        "metadata": {"name": place[1], "namespace": place[0]},
        "spec": {"key": key_id(public), "encryptedData": encrypted, "template": template},
    }


def unsealed(sealed_secret: Obj, private: Masked) -> dict[str, Masked]:
    """The values of a SealedSecret. Raises SealError that names the first key that cannot be opened."""
    spec = sealed_secret.get("spec") or {}
    mine = key_id(public_from(private))
    if spec.get("key") not in (None, "", mine):
        raise SealError(f"it was sealed for the key {spec['key']}, this cluster's is {mine}: seal it anew")
    place = namespace(sealed_secret), name(sealed_secret)
    found = {}
    for key, text in (spec.get("encryptedData") or {}).items():
        try:
            found[key] = opened(text, private, scope(*place, key))
        except SealError as error:
            raise SealError(f"encryptedData[{key}] {error}") from None
    return found
