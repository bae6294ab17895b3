"""Frames are refused by size and depth before anything is done with them."""

import json
from decimal import Decimal

import pytest

from core.errors import MalformedPayload
from core.signals.frames import MAX_DEPTH, MAX_FRAME_BYTES, decode_frame


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"a": ' + b"1" * 5_000 + b"}",
        b"\xff\xfe",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":"' + b"x" * MAX_FRAME_BYTES + b'"}',
    ],
    ids=["empty", "list", "null", "huge number", "binary", "deep", "just too deep", "large"],
)
def test_frames_that_are_too_large_too_deep_or_no_object_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedPayload):
        decode_frame(data)


def test_numbers_of_a_frame_keep_every_digit() -> None:
    value = decode_frame(json.dumps({"a": 1}).replace("1", "0.1000000000000000055511151231257827").encode())["a"]
    assert value == Decimal("0.1000000000000000055511151231257827")


def test_a_number_that_is_none_costs_its_own_field_and_not_the_frame() -> None:
    frame = decode_frame(b'{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e308, "e": 1}')
    assert [str(value) for value in frame.values()] == ["NaN", "Infinity", "-Infinity", "1E+308", "1"]


def test_a_frame_of_exactly_the_limits_is_read() -> None:
    inner = MAX_DEPTH - 2
    assert decode_frame(b'{"a":' + b"[" * inner + b"1" + b"]" * inner + b"}")
    assert decode_frame(b'{"a":"' + b"x" * (MAX_FRAME_BYTES - 8) + b'"}')
