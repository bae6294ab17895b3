"""Pre-flight against a venue: each thing that can be wrong is found by its own check, in words that say what to do."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.lifecycle.outcome import ExitStatus
from core.lifecycle.preflight import Check, Grade
from tests.fakes.sim_transport import Tamper
from tests.scenarios.worlds import World, a_wave

pytestmark = pytest.mark.may_block(reason="settings and files of a daemon that runs in this process")
Found = Mapping[str, list[Check]]
ASKED = (
    "access", "clock", "rights", "position mode", "asset mode", "margin mode", "symbols", "stop orders", "prices",
    "sizes", "leverage", "balance",
)  # fmt: skip


async def _found(world: World, change: Tamper | None = None, **env: Any) -> tuple[ExitStatus, Found]:
    daemon = world.daemon(**env)
    if change is not None:
        daemon.tamper(change)
    outcome = await daemon.orchestrator.check()
    (preflight,) = outcome.preflights
    found: dict[str, list[Check]] = {}
    for check in preflight.checks:
        found.setdefault(check.about, []).append(check)
    return outcome.status, found


def _worst(found: Found) -> dict[str, Grade]:
    """What is not as it should be."""
    return {about: c.grade for about, checks in found.items() for c in checks if c.grade is not Grade.OK}


def _said(found: Found, about: str) -> str:
    return "; ".join(check.what for check in found[about])


def _answering(asked: str, change: Any) -> Tamper:
    """The document answered to `asked` goes through `change`."""

    def tamper(what: str, document: Any) -> Any:
        return change(json.loads(json.dumps(document))) if what.endswith(asked) else document

    return tamper


async def test_a_fit_account_passes_every_question(world: World) -> None:
    status, found = await _found(world)
    assert tuple(found) == ASKED
    assert _worst(found) == {}
    assert status is ExitStatus.DONE
    assert await world.sent("order", "stop", "cancel", "amend") == []


@pytest.mark.failure("TEL-09")
@pytest.mark.parametrize(("ahead_ms", "grade"), [(5_000, Grade.WARN), (3_600_000, Grade.OFF)])
async def test_a_clock_that_is_off_is_found(world: World, ahead_ms: int, grade: Grade) -> None:
    await world.tell("clock", advance_ms=ahead_ms)
    _, found = await _found(world)
    assert _worst(found) == {"clock": grade}
    assert f"{ahead_ms} ms behind" in _said(found, "clock")
    assert "timedatectl" in _said(found, "clock")


@pytest.mark.failure("TEL-09")
@pytest.mark.parametrize(
    ("permissions", "said"), [(["read"], "enable futures trading"), (["read", "trade", "withdraw"], "may withdraw")]
)
async def test_a_key_with_too_little_or_too_much_right_switches_the_venue_off(
    world: World, permissions: list[str], said: str
) -> None:
    await world.tell("account", permissions=permissions)
    status, found = await _found(world)
    assert _worst(found) == {"rights": Grade.OFF}
    assert said in _said(found, "rights")
    assert status is ExitStatus.PREFLIGHT_REFUSED


async def test_rights_that_cannot_be_read_are_a_warning(world: World) -> None:
    await world.fault("http_error", match={"path": "/sapi/v1/account/apiRestrictions"}, status=404, count=-1)
    _, found = await _found(world)
    assert _worst(found) == {"rights": Grade.WARN}


@pytest.mark.failure("TEL-09")
@pytest.mark.parametrize(("mode", "said"), [("oneway", "one-way"), ("hedge", "hedge")])
async def test_the_position_mode_is_read_and_told(world: World, mode: str, said: str) -> None:
    await world.tell("account", position_mode=mode)
    _, found = await _found(world)
    assert _worst(found) == {}
    assert said in _said(found, "position mode")


async def test_multi_assets_mode_is_refused_with_the_setting_to_change(world: World) -> None:
    change = _answering("/fapi/v1/accountConfig", lambda row: row | {"multiAssetsMargin": True})
    status, found = await _found(world, change, MARGIN_MODE="isolated")
    assert _worst(found) == {"asset mode": Grade.OFF}
    assert "switch the account to single-asset mode" in _said(found, "asset mode")
    assert "MARGIN_MODE=isolated is refused while it is on" in _said(found, "asset mode")
    assert status is ExitStatus.PREFLIGHT_REFUSED


@pytest.mark.failure("TEL-09")
async def test_a_price_that_is_nonsense_is_found_by_comparing_it(world: World) -> None:
    await world.tell("price", symbol="ETHUSDT", price="118782", mark="2400", hold_ms=60_000)
    _, found = await _found(world)
    assert _worst(found) == {"prices": Grade.WARN}
    assert "ETHUSDT (mark 2400" in _said(found, "prices")
    assert "118782" in _said(found, "prices")


@pytest.mark.failure("TEL-09")
async def test_a_venue_whose_prices_are_nonsense_is_not_traded(world: World) -> None:
    change = _answering("/fapi/v1/premiumIndex", lambda rows: [row | {"indexPrice": "118782"} for row in rows])
    status, found = await _found(world, change)
    assert _worst(found)["prices"] is Grade.OFF
    assert status is ExitStatus.PREFLIGHT_REFUSED


@pytest.mark.failure("TEL-09")
async def test_a_venue_where_nothing_is_trading_is_off(world: World) -> None:
    change = _answering("/fapi/v1/exchangeInfo", lambda info: _each(info, lambda row: row | {"status": "SETTLING"}))
    status, found = await _found(world, change)
    assert _worst(found)["symbols"] is Grade.OFF
    assert "is trading now" in _said(found, "symbols")
    assert status is ExitStatus.PREFLIGHT_REFUSED


@pytest.mark.failure("TEL-09")
async def test_a_symbol_without_stop_orders_is_named_and_a_venue_without_them_is_off(world: World) -> None:
    def without(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"orderTypes": [kind for kind in row["orderTypes"] if kind != "STOP_MARKET"]}

    def unstopped(row: dict[str, Any]) -> dict[str, Any]:
        return without(row) if row["symbol"] == "SOLUSDT" else row

    one = _answering(
        "/fapi/v1/exchangeInfo",
        lambda info: _each(info, lambda row: without(row) if row["symbol"] == "SOLUSDT" else row),
    )
    _, found = await _found(world, one)
    assert _worst(found) == {"stop orders": Grade.WARN}
    assert "SOLUSDT" in _said(found, "stop orders")
    status, found = await _found(world, _answering("/fapi/v1/exchangeInfo", lambda info: _each(info, without)))
    assert _worst(found)["stop orders"] is Grade.OFF
    assert status is ExitStatus.PREFLIGHT_REFUSED


def _each(info: dict[str, Any], change: Any) -> dict[str, Any]:
    return info | {"symbols": [change(row) for row in info["symbols"]]}


async def test_a_symbol_that_takes_no_stop_orders_is_never_entered(world: World) -> None:
    def without(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"orderTypes": ["LIMIT", "MARKET"]} if row["symbol"] == "BTCUSDT" else row

    await world.play(a_wave(["BTCUSDT", "ETHUSDT"]))
    daemon = world.daemon()
    daemon.tamper(_answering("/fapi/v1/exchangeInfo", lambda info: _each(info, without)))
    daemon.begin()
    await daemon.ready()
    await daemon.wave()
    await daemon.stop()
    assert set(await world.held()) == {"ETHUSDT"}


async def test_a_size_below_the_venues_minimum_is_counted_with_what_it_would_take(world: World) -> None:
    _, found = await _found(world, POSITION_SIZE_USD=20, MIN_POSITION_SIZE_USDT=5)
    assert _worst(found) == {"sizes": Grade.WARN}
    assert "BTCUSDT needs" in _said(found, "sizes")


async def test_a_leverage_that_no_bracket_grants_is_counted(world: World) -> None:
    _, found = await _found(world, LEVERAGE=125, STOP_LOSS_PERCENT="0.3")
    assert _worst(found) == {"leverage": Grade.WARN}
    assert "at most" in _said(found, "leverage")


async def test_an_empty_wallet_is_a_warning(world: World) -> None:
    await world.tell("account", asset="USDT", wallet="1")
    _, found = await _found(world)
    assert _worst(found) == {"balance": Grade.WARN}


@pytest.mark.failure("CFG-03")
async def test_where_orders_go_and_which_key_signs_them_is_shown(world: World) -> None:
    _, found = await _found(world)
    assert _said(found, "access").startswith(f"local at {world.url}, key ")
    assert "sim" not in _said(found, "access").rpartition("key ")[2]


# the probe order


async def _orders(world: World) -> list[dict[str, Any]]:
    return list((await world.ask("state?all=1"))["orders"])


async def test_the_probe_order_is_far_post_only_and_gone(world: World) -> None:
    _, found = await _found(world, PREFLIGHT_PROBE_ORDERS="true")
    assert _worst(found) == {}
    (order,) = await _orders(world)
    assert (order["type"], order["status"], order["filled"]) == ("limit", "canceled", "0")
    assert (await world.ask("state"))["orders"] == []


async def test_without_the_setting_no_probe_is_sent(world: World) -> None:
    _, found = await _found(world)
    assert "probe order" not in found
    assert await _orders(world) == []


@pytest.mark.parametrize(
    ("kind", "match", "grade"),
    [
        ("drop_response", {"method": "POST", "path": "/fapi/v1/order"}, Grade.OK),
        ("drop_response", {"method": "DELETE", "path": "/fapi/v1/order"}, Grade.OK),
        ("drop_request", {"method": "DELETE", "path": "/fapi/v1/order"}, Grade.OK),
        ("drop_request", {"method": "GET", "path": "/fapi/v1/order"}, Grade.OK),
        ("drop_request", {"method": "POST", "path": "/fapi/v1/order"}, Grade.WARN),
        ("reject_order", {}, Grade.WARN),
    ],
)
async def test_whatever_goes_wrong_the_probe_order_does_not_stay(
    world: World, kind: str, match: dict[str, str], grade: Grade
) -> None:
    await world.fault(kind, match=match, count=1)
    _, found = await _found(world, PREFLIGHT_PROBE_ORDERS="true")
    assert [check.grade for check in found["probe order"]] == [grade], _said(found, "probe order")
    assert (await world.ask("state"))["orders"] == []


async def test_a_probe_order_that_cannot_be_seen_gone_is_named_and_the_venue_is_off(world: World) -> None:
    await world.fault("drop_request", match={"method": "DELETE"}, count=-1)
    status, found = await _found(world, PREFLIGHT_PROBE_ORDERS="true")
    assert _worst(found) == {"probe order": Grade.OFF}
    assert "cancel it by hand" in _said(found, "probe order")
    assert status is ExitStatus.PREFLIGHT_REFUSED


# margin mode


async def test_the_margin_mode_is_set_before_a_symbol_is_traded_and_only_where_it_differs(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"]))
    async with world.running(MARGIN_MODE="isolated") as daemon:
        await daemon.wave()
        rows = await world.ask("requests?since=0")
    set_modes = [row["n"] for row in rows if row["path"] == "/fapi/v1/marginType"]
    entered = min(row["n"] for row in rows if row["lane"] == "order" and row["method"] == "POST")
    assert set_modes
    assert max(set_modes) < entered
    again = world.daemon(daemon.data_dir, MARGIN_MODE="isolated")
    again.begin()
    await again.ready()
    await again.stop()
    rows = await world.ask("requests?since=0")
    assert [row["n"] for row in rows if row["path"] == "/fapi/v1/marginType"] == set_modes


async def test_a_symbol_whose_margin_mode_cannot_be_set_is_not_traded(world: World) -> None:
    await world.fault("http_error", match={"path": "/fapi/v1/marginType"}, status=400, code=-4168, count=-1)
    await world.play(a_wave(["BTCUSDT"]))
    async with world.running(MARGIN_MODE="isolated") as daemon:
        report = await daemon.wave()
    (leg,) = report.legs
    assert leg.denied is not None
    assert leg.denied.reason.value == "leverage_unconfirmed"
    assert await world.held() == {}
