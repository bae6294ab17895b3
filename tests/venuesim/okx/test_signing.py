"""Who may call: headers, key, passphrase, time and signature, in the venue's codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, START_MS, Desk, iso
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.signing import check_login, signature

BALANCE = "/api/v5/account/balance"


def _codes(desk: Desk, **headers: str) -> tuple[int, str]:
    answer = desk.submit("GET", BALANCE, {}, {name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status, json.loads(answer.body)["code"]


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("ok_access_key", "", "50103"),
        ("ok_access_passphrase", "", "50104"),
        ("ok_access_sign", "", "50106"),
        ("ok_access_key", "somebody", "50111"),
        ("ok_access_passphrase", "wrong", "50105"),
        ("ok_access_sign", "AAAA", "50113"),
        ("ok_access_timestamp", "yesterday", "50112"),
        ("ok_access_timestamp", iso(START_MS - 31_000), "50102"),
        ("ok_access_timestamp", iso(START_MS + 31_000), "50102"),
    ],
)
def test_wrong_credentials_are_answered_with_401_and_their_own_code(header: str, value: str, code: str) -> None:
    assert _codes(Desk(), **{header: value}) == (401, code)


@pytest.mark.parametrize("stamp", [iso(START_MS), str(START_MS // 1000), f"{START_MS / 1000:.3f}"])
def test_times_may_be_iso_or_seconds(stamp: str) -> None:
    assert _codes(Desk(), ok_access_timestamp=stamp) == (200, "0")


def test_signature_covers_the_raw_query_and_body() -> None:
    desk = Desk()
    assert desk.get("account/balance", ccy="USDT")["code"] == "0"
    raw = b'{ "instId":"BTC-USDT-SWAP","lever":5, "mgnMode":"cross" }'
    assert json.loads(desk.submit("POST", "/api/v5/account/set-leverage", raw).body)["code"] == "0"
    assert json.loads(desk.submit("POST", "/api/v5/account/set-leverage", raw, secret="x").body)["code"] == "50113"


def test_a_key_without_the_right_to_trade_reads_only() -> None:
    desk = Desk()
    desk.sim("account", permissions=["read"])
    assert desk.get("account/config")["data"][0]["perm"] == "read_only"
    assert desk.place()["code"] == "50120"
    assert desk.get("trade/orders-pending")["code"] == "0"


def test_a_revoked_key_is_refused_until_its_time_is_over() -> None:
    desk = Desk()
    desk.fault("revoke_key", duration_ms=5_000)
    assert _codes(desk) == (401, "50111")
    desk.run(5_001)
    assert _codes(desk) == (200, "0")


def test_unknown_paths_and_wrong_methods_are_told_apart() -> None:
    desk = Desk()
    assert desk.submit("GET", "/api/v5/nowhere", {}).status == 404
    wrong = desk.submit("DELETE", "/api/v5/trade/order", {"instId": BTC})
    assert (wrong.status, json.loads(wrong.body)["code"]) == (405, "50115")


def test_bodies_must_be_json_of_the_right_form() -> None:
    desk = Desk()

    def code(path: str, body: bytes) -> str:
        return str(json.loads(desk.submit("POST", f"/api/v5/{path}", body).body)["code"])

    assert code("trade/order", b"") == "50000"
    assert code("trade/order", b"{") == "50002"
    assert code("trade/order", b"[{}]") == "50002"
    assert code("trade/batch-orders", b"{}") == "50002"


def _login(**changed: Any) -> dict[str, Any]:
    stamp = changed.get("timestamp", str(START_MS // 1000))
    row = {"apiKey": "sim", "passphrase": "sim", "timestamp": stamp}
    return {**row, "sign": signature("sim", f"{stamp}GET/users/self/verify"), **changed}


def test_a_login_signs_its_seconds() -> None:
    check_login(_login(), START_MS)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"apiKey": "x"}, "60005"),
        ({"passphrase": "x"}, "60024"),
        ({"timestamp": "now"}, "60004"),
        ({"timestamp": str(START_MS // 1000 - 31)}, "60006"),
        ({"timestamp": str(START_MS)}, "60006"),
        ({"sign": "x"}, "60007"),
    ],
)
def test_wrong_logins_have_codes_of_their_own(changed: dict[str, str], code: str) -> None:
    with pytest.raises(VenueError) as caught:
        check_login(_login(**changed), START_MS)
    assert caught.value.code == code
