"""Questions and answers of DNS as bytes; the answers as dnsmasq sent them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.logic.network.dnsquery import Answer, answer, question

ASKED = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02n1\x0bktool-probe\x00\x00\x01\x00\x01"
ANSWERED = (
    b"\x00\x01\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x02n1\x0bktool-probe\x00\x00\x01\x00\x01"
    b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x0a\xf4\x00\xfe"
)


def test_a_question() -> None:
    assert question("n1.ktool-probe") == len(ASKED).to_bytes(2, "big") + ASKED
    assert question("n1.ktool-probe.", "TXT")[-4:] == b"\x00\x10\x00\x01"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["a" * 60] * 5), "ü"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        question(name)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(ANSWERED, Answer("NOERROR", ("10.244.0.254",), len(ANSWERED)), id="address"),
        pytest.param(b"\x00\x01\x81\x83" + ASKED[4:], Answer("NXDOMAIN", (), len(ASKED)), id="no-such-name"),
        pytest.param(b"\x00\x01\x81\x82" + ASKED[4:], Answer("SERVFAIL", (), len(ASKED)), id="failure"),
        pytest.param(b"\x00\x01\x81\x8b" + ASKED[4:], Answer("code 11", (), len(ASKED)), id="other-code"),
    ],
)
def test_an_answer(message: bytes, expected: Answer) -> None:
    assert answer(message) == expected


@pytest.mark.parametrize("length", range(len(ANSWERED)))
def test_an_answer_that_is_cut_off(length: int) -> None:
    with pytest.raises(ValueError):
        answer(ANSWERED[:length])


@given(st.binary(max_size=80))
def test_anything_else_is_an_answer_or_refused(data: bytes) -> None:
    try:
        answer(data)
    except ValueError:
        pass
