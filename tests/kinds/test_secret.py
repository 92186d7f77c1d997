"""Secret: what each type needs, what is put in by default, and that nothing confidential is said."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from typing import Any

import pytest

from ktool.api import schema
from ktool.api.marks import LAST_APPLIED
from ktool.api.masked import UNREADABLE, Masked, Unreadable, values
from ktool.api.ref import SECRET
from ktool.logic.secrets import secretdata
from tests.everykind import KINDS

CANARY = "canary-5f1c"
KIND = KINDS[SECRET]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def secret(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, **members}


def admitted(obj: dict[str, Any], old: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[str]]:
    assert schema.check(KIND.schema, obj) == []
    whole = KIND.rules.default(schema.default(KIND.schema, obj))
    return whole, [f"{cause.reason} {cause}" for cause in KIND.rules.validate(whole, old)]


# --- defaults ----------------------------------------------------------------------------------------------------


def test_string_data_becomes_data_and_wins() -> None:
    found, causes = admitted(secret(data={"a": b64("1"), "b": b64("2")}, stringData={"b": "ü", "c": None}))
    assert causes == []
    assert found == secret(type="Opaque", data={"a": b64("1"), "b": b64("ü"), "c": ""})


def test_base64_with_line_breaks_is_stored_without() -> None:
    assert admitted(secret(data={"a": "YWJj\nZGVm\n"}))[0]["data"] == {"a": "YWJjZGVm"}


def test_a_secret_that_has_its_defaults_is_not_copied() -> None:
    found = admitted(secret(data={"a": b64("1")}))[0]
    assert KIND.rules.default(found) is found


def test_a_copy_in_kubectls_annotation_loses_its_values() -> None:
    copy = json.dumps(secret(stringData={"a": CANARY}, data={"b": b64(CANARY)}))
    found, _ = admitted(secret(metadata={"name": "s", "namespace": "default", "annotations": {LAST_APPLIED: copy}}))
    text = found["metadata"]["annotations"][LAST_APPLIED]
    assert CANARY not in text and b64(CANARY) not in text
    assert json.loads(text)["stringData"] == {"a": "***"}
    assert KIND.rules.default(found) is found


@pytest.mark.parametrize(
    "broken", ["", "{", "[1]", '"x"', f'{{"data": "{CANARY}"}}', f'{{"data": ["{CANARY}"]}}'], ids=list("abcdef")
)
def test_an_annotation_that_makes_no_sense_loses_its_values_too(broken: str) -> None:
    found = KIND.rules.default(secret(metadata={"name": "s", "annotations": {LAST_APPLIED: broken}}))
    assert CANARY not in str(found)


# --- types -------------------------------------------------------------------------------------------------------

DOCKER = json.dumps({"auths": {"registry.test": {"username": "u", "password": CANARY}}})
GOOD = {
    "opaque": secret(),
    "own-type": secret(type="example.com/mine", data={"x": ""}),
    "tls": secret(type="kubernetes.io/tls", data={"tls.crt": "", "tls.key": "", "ca.crt": ""}),
    "dockerconfigjson": secret(type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": DOCKER}),
    "dockercfg": secret(type="kubernetes.io/dockercfg", stringData={".dockercfg": "{}"}),
    "basic-auth-user": secret(type="kubernetes.io/basic-auth", stringData={"username": "u"}),
    "basic-auth-password": secret(type="kubernetes.io/basic-auth", stringData={"password": "p"}),
    "ssh-auth": secret(type="kubernetes.io/ssh-auth", stringData={"ssh-privatekey": "k"}),
    "token": secret(
        type="kubernetes.io/service-account-token",
        metadata={"name": "s", "namespace": "default", "annotations": {"kubernetes.io/service-account.name": "a"}},
    ),
    "1-MiB": secret(stringData={"a": "x" * (1 << 19)}, data={"b": b64(b"x" * (1 << 19))}),
    "json-when-opaque": secret(stringData={".dockerconfigjson": "no"}),
}


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_accepted(obj: dict[str, Any]) -> None:
    assert admitted(obj)[1] == []


REQUIRED, INVALID = "FieldValueRequired", "FieldValueInvalid"
TLS, JSON = "kubernetes.io/tls", "must be the JSON of a Docker config file"
REFUSED = {
    "tls": (
        secret(type=TLS),
        [f"{REQUIRED} data[{key}]: is required for the type {TLS}" for key in ("tls.crt", "tls.key")],
    ),
    "tls-no-key": (
        secret(type=TLS, data={"tls.crt": ""}),
        [f"{REQUIRED} data[tls.key]: is required for the type {TLS}"],
    ),
    "dockerconfigjson": (
        secret(type=secretdata.DOCKER_CONFIG, stringData={"x": CANARY}),
        [f"{REQUIRED} data[.dockerconfigjson]: is required for the type {secretdata.DOCKER_CONFIG}"],
    ),
    "dockerconfigjson-no-json": (
        secret(type=secretdata.DOCKER_CONFIG, stringData={".dockerconfigjson": CANARY}),
        [f"{INVALID} data[.dockerconfigjson]: {JSON}"],
    ),
    "dockerconfigjson-list": (
        secret(type=secretdata.DOCKER_CONFIG, stringData={".dockerconfigjson": "[]"}),
        [f"{INVALID} data[.dockerconfigjson]: {JSON}: an object with `auths`"],
    ),
    "dockerconfigjson-auths": (
        secret(type=secretdata.DOCKER_CONFIG, stringData={".dockerconfigjson": '{"auths": 1}'}),
        [f"{INVALID} data[.dockerconfigjson]: {JSON}: an object with `auths`"],
    ),
    "dockercfg-bytes": (
        secret(type=secretdata.DOCKER_CFG, data={".dockercfg": b64(b"\xff\x00")}),
        [f"{INVALID} data[.dockercfg]: {JSON}"],
    ),
    "dockercfg-number": (
        secret(type=secretdata.DOCKER_CFG, stringData={".dockercfg": "1"}),
        [f"{INVALID} data[.dockercfg]: {JSON}: an object"],
    ),
    "basic-auth": (
        secret(type=secretdata.BASIC_AUTH, data={"user": ""}),
        [f"{REQUIRED} data[username]: this or data[password] is required for the type {secretdata.BASIC_AUTH}"],
    ),
    "ssh-auth-empty": (
        secret(type=secretdata.SSH_AUTH, data={"ssh-privatekey": ""}),
        [f"{REQUIRED} data[ssh-privatekey]: is required for the type {secretdata.SSH_AUTH}"],
    ),
    "token": (
        secret(type=secretdata.SERVICE_ACCOUNT),
        [
            f"{REQUIRED} metadata.annotations[kubernetes.io/service-account.name]: is required for the type "
            f"{secretdata.SERVICE_ACCOUNT}"
        ],
    ),
    "key": (secret(data={"a b": ""}), [f"{INVALID} data[a b]: the key must be letters, digits, '-', '_' and '.'"]),
    "too-large": (
        secret(stringData={"a": "x" * (1 << 20)}, data={"b": "YQ=="}),
        ["FieldValueTooLong data: must be no more than 1048576 bytes, not 1048577"],
    ),
}


@pytest.mark.parametrize(("obj", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(obj: dict[str, Any], expected: list[str]) -> None:
    causes = admitted(obj)[1]
    assert causes == expected
    assert CANARY not in str(causes)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"data": {"a": "MQ=="}, "immutable": True}, []),
        ({"data": {"a": "Mg=="}, "immutable": True}, ["data"]),
        ({"stringData": {"b": ""}, "immutable": True}, ["data"]),
        ({"data": {"a": "MQ=="}}, ["immutable"]),
        ({"data": {"a": "MQ=="}, "immutable": True, "type": "other"}, ["type"]),
    ],
)
def test_an_immutable_secret(change: dict[str, Any], fields: list[str]) -> None:
    old = secret(type="Opaque", data={"a": "MQ=="}, immutable=True)
    assert [cause.split()[1].rstrip(":") for cause in admitted(secret(**change), old)[1]] == fields


# --- nothing is said ---------------------------------------------------------------------------------------------

SHAPES = {
    "bad-base64": (secret(data={"pw": CANARY}), "data[pw]: must be base64; plain text belongs in stringData"),
    "number": (secret(data={"pw": 5551234}), "data[pw]: must be base64; plain text belongs in stringData"),
    "not-a-map": (secret(data=CANARY), "data: must be a map; plain text belongs in stringData"),
    "list": (secret(stringData={"pw": [CANARY]}), "stringData[pw]: must be a string; put quotes around it"),
    "plain-number": (secret(stringData={"pw": 5551234}), "stringData[pw]: must be a string; put quotes around it"),
    "plain-not-a-map": (secret(stringData=[CANARY]), "stringData: must be a map; put quotes around it"),
}


@pytest.mark.parametrize(("obj", "expected"), SHAPES.values(), ids=SHAPES)
def test_a_wrong_shape_is_named_without_its_value(obj: dict[str, Any], expected: str) -> None:
    assert [str(cause) for cause in schema.check(KIND.schema, obj)] == [expected]


def test_redacted() -> None:
    found = KIND.rules.redact(secret(data={"a": b64(CANARY)}, stringData={"b": CANARY}, type="Opaque"))
    assert found == secret(data={"a": "***"}, stringData={"b": "***"}, type="Opaque")
    assert CANARY not in str(KIND.rules.redact(secret(data=CANARY, stringData=[CANARY])))


def test_a_masked_value_shows_by_no_way_but_reveal() -> None:
    value = values(secret(data={"a": b64(CANARY)}))["a"]
    assert value.reveal() == CANARY.encode() and len(value) == len(CANARY)
    assert value == Masked(CANARY.encode()) and hash(value) == hash(Masked(CANARY.encode())) and value != CANARY
    for text in (str(value), repr(value), f"{value}", f"{value!r:>5}", str([value]), str({"a": value})):
        assert CANARY not in text and "***" in text
    with pytest.raises(TypeError):
        json.dumps(value)
    with pytest.raises(TypeError):
        pickle.dumps(value)
    try:
        raise ValueError(value)
    except ValueError:
        assert CANARY not in traceback.format_exc()
    assert not hasattr(value, "__dict__")


def test_an_unreadable_secret_has_no_values() -> None:
    with pytest.raises(Unreadable, match="the key 12ab is missing"):
        values(secret(**{UNREADABLE: "the key 12ab is missing"}))
