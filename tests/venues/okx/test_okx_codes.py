"""What OKX's codes mean for the request that got them, by our own table on the raw codes (ORD-17)."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.engine.ports import About
from core.errors import Ambiguous, RateLimited, Refused, Unreachable
from core.venues.okx import codes


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "okx_swap"


def _load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


MEANINGS = {
    Ambiguous: "50001 50004 50013 50026 50042 51054 51149 51412 51016 50071 51065 51068 99999",
    Unreachable: "50017 50020 51030 51513",
    RateLimited: "50011 50061 50040",
    Refused: "50102 50036 50037 50111 50113 50119 50120 51000 51006 51008 51121 51169 51280 51400 51410 51603 59107",
}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, words in MEANINGS.items() for code in words.split()])
def test_a_code_means_what_the_venue_says_of_it(kind: type[Exception], code: str) -> None:
    assert type(codes.ERRORS.error(200, code, "words", venue_ms=0)) is kind


def test_every_code_of_orders_and_accounts_in_the_venues_list_is_known(fixtures: Path) -> None:
    listed = {row["code"] for row in _load(fixtures, "error_codes") if row["code"].isdecimal()}
    trading = {code for code in listed if code.startswith(("500", "501", "510", "511", "512", "513", "514"))}
    others = "50047 50048 50055 50056 50058 50063 50064 51220 51221 51222 51223 51224 51225 51226"  # bots, demo, loans
    assert trading - codes.CODES.keys() == set(others.split())


def test_a_clock_that_is_off_and_a_refused_key_are_told_apart() -> None:
    def error(code: str) -> Any:
        return codes.ERRORS.error(401, code, "words", venue_ms=0)

    assert all(codes.ERRORS.is_clock(error(code)) for code in ("50102", "50112", "50036", "50037"))
    assert all(codes.ERRORS.is_key(error(code)) for code in ("50101", "50105", "50110", "50111", "50113", "50119"))
    assert not codes.ERRORS.is_key(error("50120")), "it may not trade; it is a key all the same"


def test_an_envelope_of_several_orders_is_judged_by_its_rows(fixtures: Path) -> None:
    assert codes.fault_in(_load(fixtures, "order_algo_rejected")) == ("51000", "Parameter instId error")
    assert codes.fault_in(_load(fixtures, "ws_op_batch_orders_partial")) is None
    assert codes.fault_in(_load(fixtures, "ws_op_batch_orders_all_failed")) is None
    failed = _load(fixtures, "ws_op_order_failure")
    assert codes.fault_in(failed) == (failed["data"][0]["sCode"], failed["data"][0]["sMsg"])
    assert codes.fault_in({"code": "50011", "msg": "Too Many Requests", "data": []}) == ("50011", "Too Many Requests")
    assert codes.fault_in({"code": 0, "msg": "", "data": []}) is None
    assert codes.fault_in(["<html>"]) is not None


@pytest.mark.parametrize("code", ["50052", "51155", "54035"])
def test_what_is_said_of_one_coin_or_pair_is_no_word_about_the_account(code: str) -> None:
    assert codes.ABOUT[code] is About.NOT_TRADING
    assert type(codes.ERRORS.error(200, code, "words", venue_ms=0)) is Refused


@pytest.mark.parametrize("code", ["51010", "51024", "50120"])
def test_what_is_said_of_the_account_stops_entries_on_the_venue(code: str) -> None:
    assert codes.ABOUT[code] is About.ACCOUNT_RESTRICTED
