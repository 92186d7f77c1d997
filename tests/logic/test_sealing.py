"""Sealed values: what goes in comes out, and only in the place it was sealed for."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktool.api.masked import Masked
from ktool.logic.secrets import sealing
from ktool.logic.secrets.sealing import SealError

PRIVATE, OTHER = Masked(bytes(range(32))), Masked(bytes(range(1, 33)))
PUBLIC = sealing.public_from(PRIVATE)
SCOPE = sealing.scope("default", "db", "password")
random32 = st.binary(min_size=32, max_size=32)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), random32, random32)
def test_what_is_sealed_opens(value: bytes, private: bytes, random: bytes) -> None:
    text = sealing.sealed(Masked(value), sealing.public_from(Masked(private)), SCOPE, Masked(random))
    assert sealing.opened(text, Masked(private), SCOPE) == Masked(value)
    assert len(value) < 8 or value not in base64.b64decode(text)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_changed_byte_opens(data: st.DataObject) -> None:
    sealed = bytearray(base64.b64decode(sealing.sealed(Masked(b"value"), PUBLIC, SCOPE, OTHER)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    with pytest.raises(SealError):
        sealing.opened(base64.b64encode(sealed).decode(), PRIVATE, SCOPE)


@pytest.mark.parametrize(
    ("text", "private", "scope", "expected"),
    [
        pytest.param(None, OTHER, SCOPE, "was sealed for another", id="another-cluster"),
        pytest.param(None, PRIVATE, sealing.scope("shop", "db", "password"), "was sealed for another", id="namespace"),
        pytest.param(None, PRIVATE, sealing.scope("default", "x", "password"), "was sealed for another", id="name"),
        pytest.param(None, PRIVATE, sealing.scope("default", "db", "user"), "was sealed for another", id="key"),
        pytest.param("%", PRIVATE, SCOPE, "is no base64", id="base64"),
        pytest.param("", PRIVATE, SCOPE, "is no sealed value of this version", id="empty"),
        pytest.param("AQID", PRIVATE, SCOPE, "is no sealed value of this version", id="short"),
        pytest.param(base64.b64encode(b"\1" + bytes(80)).decode(), PRIVATE, SCOPE, "or was changed", id="zero-point"),
    ],
)
def test_what_does_not_open(text: str | None, private: Masked, scope: str, expected: str) -> None:
    text = sealing.sealed(Masked(b"value"), PUBLIC, SCOPE, OTHER) if text is None else text
    with pytest.raises(SealError, match=expected):
        sealing.opened(text, private, scope)


def test_a_public_key_as_text() -> None:
    assert sealing.public_of(sealing.public_text(PUBLIC) + "\n") == PUBLIC
    for wrong in ("", "ssh-ed25519 AAAA", "ktool-sealing-key", "ktool-sealing-key YWJj", "ktool-sealing-key %"):
        with pytest.raises(SealError, match="this is no sealing key"):
            sealing.public_of(wrong)


def test_a_whole_secret_and_back() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "default", "labels": {"app": "shop"}},
        "type": "Opaque",
        "immutable": True,
    }
    held = {"password": Masked(b"p"), "user": Masked(b"\xff")}
    made = sealing.sealed_secret(secret, held, PUBLIC, {"password": OTHER, "user": PRIVATE})
    assert made["metadata"] == {"name": "db", "namespace": "default"}
    assert made["spec"]["template"] == {"type": "Opaque", "immutable": True, "metadata": {"labels": {"app": "shop"}}}
    assert sealing.unsealed(made, PRIVATE) == held
    with pytest.raises(SealError, match=f"it was sealed for the key {sealing.key_id(PUBLIC)}, this cluster's is"):
        sealing.unsealed(made, OTHER)
