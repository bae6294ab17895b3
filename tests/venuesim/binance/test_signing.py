"""Key, clock and signature checks, with the venue's published test vector."""

from __future__ import annotations

import pytest

from tools.venuesim.binance import signing
from tools.venuesim.binance.errors import VenueError

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PAYLOAD = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_published_vector_is_reproduced() -> None:
    assert signing.signature(SECRET, PAYLOAD) == SIGNATURE


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"{PAYLOAD}&signature={SIGNATURE}", ""),
        ("", f"{PAYLOAD}&signature={SIGNATURE}"),
        (f"signature={SIGNATURE}&{PAYLOAD}", ""),
        (f"signature={SIGNATURE}", PAYLOAD),
    ],
)
def test_signature_is_found_wherever_it_stands(query: str, body: str) -> None:
    signing.check_signature(SIGNATURE, SECRET, signing.without_signature(query, body))


def test_query_and_body_are_signed_back_to_back() -> None:
    query, body = PAYLOAD.split("&quantity", 1)[0], "quantity" + PAYLOAD.split("&quantity", 1)[1]
    signed = signing.signature(SECRET, query + body)
    signing.check_signature(signed, SECRET, signing.without_signature(query, f"{body}&signature={signed}"))


def test_a_changed_payload_is_refused() -> None:
    with pytest.raises(VenueError) as refused:
        signing.check_signature(SIGNATURE, SECRET, PAYLOAD + "0")
    assert refused.value.code == -1022


@pytest.mark.parametrize(("key", "code"), [(None, -2014), ("", -2014), ("other", -2015)])
def test_unknown_key_is_refused_with_status_401(key: str | None, code: int) -> None:
    with pytest.raises(VenueError) as refused:
        signing.check_key(key)
    assert (refused.value.code, refused.value.status) == (code, 401)


@pytest.mark.parametrize(
    ("timestamp", "window", "code"),
    [
        (1_000_000, None, None),
        (1_000_999, None, None),
        (1_001_000, None, -1021),
        (995_000, None, None),
        (994_999, None, -1021),
        (940_000, "60000", None),
        (939_999, "60000", -1021),
        (1_000_000, "60001", -1130),
        (None, None, -1102),
        ("soon", None, -1102),
    ],
)
def test_time_window_is_open_ahead_and_closed_behind(
    timestamp: int | str | None, window: str | None, code: int | None
) -> None:
    sent = None if timestamp is None else str(timestamp)
    if code is None:
        signing.check_time(sent, window, 1_000_000)
        return
    with pytest.raises(VenueError) as refused:
        signing.check_time(sent, window, 1_000_000)
    assert refused.value.code == code
