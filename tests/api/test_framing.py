"""The frames of an exec session."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.errors import ApiError
from ktool.registry import execframes


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300))))
def test_what_is_packed_is_unpacked(frames):
    stream = io.BytesIO(b"".join(execframes.pack(channel, payload) for channel, payload in frames))
    assert list(execframes.unpack(stream.read)) == frames


def test_long_data_is_cut_into_frames_within_the_limit():
    data = bytes(range(256)) * (execframes.LIMIT // 256) + b"and more"
    frames = list(execframes.unpack(io.BytesIO(execframes.pack(execframes.STDOUT, data)).read))
    assert [len(payload) for _, payload in frames] == [execframes.LIMIT, 8]
    assert b"".join(payload for _, payload in frames) == data


@pytest.mark.parametrize(
    "data",
    [b"\x01", b"\x01\0\0\0\5abc", b"\x01\xff\xff\xff\xff"],
    ids=["half a head", "half a payload", "too long"],
)
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(execframes.FrameError):
        list(execframes.unpack(io.BytesIO(data).read))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    try:
        list(execframes.unpack(io.BytesIO(data).read))
    except execframes.FrameError:
        pass


@pytest.mark.parametrize("code", [0, 1, 137, 255])
def test_an_exit_code_travels_as_a_status(code):
    assert execframes.exit_code(execframes.exit_status(code)) == code


def test_a_command_that_could_not_run_is_an_error():
    status = ApiError(503, "ServiceUnavailable", "node n cannot be reached").to_status()
    with pytest.raises(ApiError, match="cannot be reached"):
        execframes.exit_code(json.dumps(status).encode())


def test_a_terminal_size_travels():
    assert execframes.size(execframes.resize(24, 80)) == (24, 80)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"Width":1}', b'{"Width":0,"Height":1}', b'{"Width":"a","Height":1}']
)
def test_what_is_no_terminal_size_is_refused(payload):
    with pytest.raises(execframes.FrameError):
        execframes.size(payload)
