"""What is shown fits a phone, says the most important first, and exists whatever is not known."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.gate import passed, refused
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.verdict import Reason
from core.engine.past import Account, PastTrade, PastWave, Story
from core.engine.queries import PositionRow
from core.engine.records import SignalMark
from tests.tgbot.desks import BTC, POSITION, SHORT, VENUE, a_risk, a_status
from tests.tgbot.rig import OWNER, Rig
from tgbot.commands.history import trade_lines
from tgbot.commands.state import positions, positions_table, status_page
from tgbot.page import MAX_UNITS, Style, bold, page, safe, table, texts, units
from tgbot.roles import Role
from tgbot.tables import WIDTH, coin, columns, duration, money, pair, percent, price, wrapped

VIRTUAL = pytest.mark.asyncio(loop_factories=["virtual"])
TURNED = "\N{RIGHT-TO-LEFT OVERRIDE}"
NASTY = f"1000_PEPE*[x](y) <b>&`~{TURNED}\n/panic"
TRADE = PastTrade(
    time_ms=1_790_000_000_000,
    instrument=BTC,
    side="sell",
    leg="close",
    quantity=Decimal("0.01"),
    price=Decimal("66700.123456789"),
    decided=Decimal(66710),
    fees=Decimal("0.33"),
    result=Decimal("1.5"),
    fills=2,
    reason="ordered by telegram:1",
)


def _wide(name: str) -> InstrumentId:
    return InstrumentId(VenueName.BINANCE, Symbol(f"{name}/USDC:USDC"))


def test_the_status_says_state_venue_positions_and_day() -> None:
    assert status_page(a_status()).plain().split("\n") == [
        "🟢 ACTIVE",
        "          binance",
        "stream      1h01m",
        "entries        on",
        "reconcile     12s",
        "clock         0ms",
        "budget        75%",
        "reconnect       1",
        "",
        "positions                   1, stops 1",
        "open result                      +0.33",
        "day                       -3.20 of 100",
        "stops in a row                  1 of 3",
        "drawdown                  0.40% of 10%",
        "equity                        10000.50",
        "waves                                3",
        "refused                              3",
        "  max_positions                      2",
        "  expired                            1",
        "",
        "0.1.0                         up 1d01h",
    ]


def test_no_venue_takes_entries_while_all_trading_is_stopped() -> None:
    lines = status_page(a_status(trading_state="reducing", reason="paused")).plain().split("\n")
    assert "entries        no" in lines


def test_what_is_wrong_comes_first() -> None:
    rows = (replace(POSITION, stop=None, mark=None, unrealized=None, naked_s=3.0),)
    off = replace(VENUE, connected=False, connected_s=None, reconciled_s=None, off_because="key refused")
    said = status_page(
        a_status(trading_state="halted", reason="journal", venues=(off,), positions=rows, unresolved_orders=2)
    ).plain()
    lines = said.split("\n")
    assert lines[0] == "🔴 HALTED: journal"
    assert lines[1] == "⚠️ binance: no entries, key refused"
    assert lines[2] == "🔴 WITHOUT A STOP: BTC binance"
    assert "2 orders with unknown outcome" in lines[3]
    assert "DOWN" in said
    assert "never" in said


def test_an_empty_account_has_a_status_too() -> None:
    text = status_page(a_status(venues=(), positions=(), balances={}, refusals={}, risk=None)).plain()
    assert "no venue is used" in text
    assert "positions                   0, stops 0" in text


@pytest.mark.parametrize(
    "rows", [(POSITION,), (POSITION, SHORT), (replace(POSITION, instrument=_wide("1000" * 8)),) * 20]
)
def test_every_line_of_a_table_fits_a_phone(rows: tuple[PositionRow, ...]) -> None:
    venues = tuple(replace(VENUE, venue=venue, connected_s=86_400.0 * 365) for venue in VenueName)
    shown = [
        status_page(a_status(venues=venues, positions=rows)),
        positions(rows, Role.OWNER),
        positions_table(rows),
    ]
    tables = [line.text for one in shown for line in one.lines if line.style is Style.TABLE]
    assert tables
    assert [line for line in tables if len(line) > WIDTH] == []
    assert all(len(button.data.encode()) <= 64 for one in shown for row in one.buttons for button in row)


@VIRTUAL
async def test_every_table_of_every_command_fits_a_phone() -> None:
    async with Rig().running() as rig:
        rig.desk.past.told_trades = [TRADE, replace(TRADE, instrument=_wide("VERYLONGNAME"), result=None)]
        counts = {"signals": 12, "protected": 3, "refused": 9}
        rig.desk.past.told_waves = [_wave(stages=dict.fromkeys(("prefetched", "journaled"), 12.0), counts=counts)] * 3
        rig.desk.past.accounts["BTC"] = _account()
        rig.desk.queries.figures = a_risk(cooling={str(_wide("LONG")): "closed_by_stop long, 12345 s ago"})
        for command in (
            "why BTC all",
            "trades",
            "waves",
            "risk",
            "orders",
            "balance",
            "signals",
            "health",
            "config all",
        ):
            await rig.phone.ask(f"/{command}", user=OWNER)
        assert _too_wide(rig) == []


@VIRTUAL
async def test_of_many_closes_the_newest_are_told_and_the_day_adds_up() -> None:
    async with Rig().running() as rig:
        closes = {str(_wide(f"C{number}")): f"loss long, {30 - number} s ago" for number in range(30)}
        rig.desk.queries.figures = a_risk(cooling=closes, day_closed=Decimal("-3.5"))
        told = await rig.phone.ask("/risk", "Last closes", user=OWNER)
        assert "and of 25 more symbols" in told
        assert [f"C{number}" in told for number in (29, 25, 24)] == [True, True, False]
        assert told.index("C29") < told.index("C25")
        day = (await rig.phone.ask("/daily", "DAY", user=OWNER)).split("\n")
    (rest,) = [Decimal(line.split()[-1]) for line in day if line.startswith("open fees, other trades")]
    (result,) = [Decimal(line.split()[-1]) for line in day if line.startswith("result after fees")]
    assert result + rest == Decimal("-3.5")


def _too_wide(rig: Rig) -> list[str]:
    """Lines in fixed width that a phone would break."""
    found = []
    for sent in rig.phone.account.outbox:
        text = sent["text"].encode("utf-16-le")
        for entity in eval(sent.get("entities", "[]")):
            if entity["type"] == "pre":
                start, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
                found += [line for line in text[start:end].decode("utf-16-le").split("\n") if len(line) > WIDTH]
    return found


@pytest.mark.failure("TEL-01")
@pytest.mark.parametrize("name", PastTrade.__struct_fields__)
def test_a_trade_of_which_something_is_not_known_is_told_all_the_same(name: str) -> None:
    optional = {"leg", "price", "decided", "result"}
    changed: dict[str, Any] = {name: None} if name in optional else {}
    lines = trade_lines(replace(TRADE, **changed), TRADE.time_ms)
    assert lines[0].startswith("13:46:40 BTC binance") or lines
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.failure("TEL-01")
def test_a_trade_is_told_with_what_was_filled_and_not_with_what_was_decided() -> None:
    first, second, third = trade_lines(TRADE, TRADE.time_ms)
    assert first.endswith("out +1.50"), "before fees, as they are told beside it"
    assert "sell 0.01 @ 66700.12" in second
    assert second.endswith("fee 0.33")
    assert "decided 66710" in third


@pytest.mark.failure("TEL-01")
@pytest.mark.parametrize("name", ["mark", "unrealized", "stop", "unprotected_ms", "naked_s", "protected_s"])
def test_a_position_of_which_something_is_not_known_is_shown_all_the_same(name: str) -> None:
    changed: dict[str, Any] = {name: None}
    row = replace(POSITION, **changed)
    for shown in (positions((row,), Role.OWNER), positions_table((row,)), status_page(a_status(positions=(row,)))):
        assert shown.plain()


def test_why_shows_what_refused_and_all_gates_when_asked() -> None:
    from tgbot.commands.history import _account_page

    told = _account()
    assert told.wave is not None
    short = _account_page(told, told.wave, 0, everything=False).plain()
    assert "❌ BTC binance long, score 80" in short
    assert "max_positions: full" in short
    assert "- positions" in short
    assert "+ expiry" not in short
    assert "gates passed" in short
    assert "+ expiry" in _account_page(told, told.wave, 0, everything=True).plain()


def _wave(**changes: Any) -> PastWave:
    wave = PastWave(
        wave_id="w1", source="server", received_ms=1_790_000_000_000, finished_ms=1_790_000_000_250,
        stages={}, counts={}, unusable=(),
    )  # fmt: skip
    return replace(wave, **changes)


def _account() -> Account:
    gates = (
        passed("expiry", "599 s left of what the signal said", "600"),
        refused("positions", Reason.MAX_POSITIONS, "full", value="6", limit="MAX_POSITIONS=6 of this whole daemon"),
    )
    signal = SignalMark(
        source="server", signal_id="s", wave_id="w1", venue="binance", symbol="BTC/USDT:USDT", side="buy", score="80",
        code="max_positions", detail="full", values={}, gates=gates, time_ms=0,
    )  # fmt: skip
    return Account(wave=_wave(), stories=(Story(signal=signal, orders=(), position=None),))


# pages


@pytest.mark.failure("TEL-07")
def test_a_long_page_is_split_between_lines_and_every_span_lies_in_its_text() -> None:
    rows = [f"{number} 🔴 {NASTY}" for number in range(400)]
    made = texts(page(bold("title"), table(rows), "the end"))
    assert len(made) > 2
    assert all(units(one.text) <= MAX_UNITS for one in made)
    assert "\n".join(one.text for one in made) == page(bold("title"), table(rows), "the end").plain()
    for one in made:
        encoded = one.text.encode("utf-16-le")
        for span in one.spans:
            cut = encoded[2 * span.offset : 2 * (span.offset + span.length)].decode("utf-16-le")
            assert cut.strip()
            assert not cut.startswith("\n")


def test_nothing_in_a_text_can_forge_a_line_or_turn_its_direction() -> None:
    assert "\n" not in safe(NASTY)
    assert TURNED not in safe(NASTY)
    assert texts(page("")) == texts(page("   "))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (money(Decimal("1234.567")), "1234.57"),
        (money(Decimal("-0.001"), signed=True), "-0.0010"),
        (money(Decimal("0.5"), signed=True), "+0.50"),
        (money(Decimal("-0.00001")), "0.0000"),
        (money(Decimal(0), signed=True), "0.00"),
        (money(Decimal("123456.7")), "123457"),
        (money(None), "?"),
        (percent(Decimal("1.005")), "+1.00%"),
        (percent(None), "?"),
        (price(Decimal(200_000) / Decimal(3)), "66666.67"),
        (price(Decimal("0.00000098")), "0.00000098"),
        (price(Decimal(123456789)), "123456789"),
        (duration(59.9), "59s"),
        (duration(3_599), "59m59s"),
        (duration(90_061), "1d01h"),
        (duration(None), "?"),
        (coin("BTC/USDT:USDT"), "BTC"),
        (coin("BTC/USDC:USDC"), "BTC/USDC"),
        (coin("BTC/USDT:USDT-261225"), "BTC-261225"),
        (coin("ODD"), "ODD"),
        (pair("left", "right", 12), "left   right"),
    ],
)
def test_figures_are_short_and_exact_enough(shown: str, text: str) -> None:
    assert shown == text


def test_columns_that_are_too_wide_lose_the_ends_of_what_is_long() -> None:
    (head, line) = columns([["a" * 60, "12345.67", "x"]], "<><", head=("name", "value", ""))
    assert len(line) <= WIDTH
    assert "12345.67" in line
    assert head.startswith("name")


def test_words_are_wrapped_and_none_is_lost() -> None:
    lines = wrapped("word " * 20 + "x" * 100, "  ")
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join("".join(lines).split()) == "word" * 20 + "x" * 100
