"""What the chaos campaign calls wrong: each judgement finds what it is there to find, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.campaigns.chaos_excuses import given_up
from tests.campaigns.chaos_limits import Sent, entries_sent, over_limits, while_stopped
from tests.campaigns.chaos_outside import GARBAGE, WRONG, outside
from tests.campaigns.chaos_plan import plan_of
from tests.campaigns.chaos_record import Record, Window
from tests.campaigns.chaos_witness import Count, Life, Witness
from tests.scenarios.worlds import Daemon
from tools.signal_feed import parse_script
from tools.venuesim.exchange.model import Income, IncomeType

OURS = "bw" + "a" * 30
UNLIMITED = {
    "MAX_POSITIONS": 100,
    "MAX_POSITIONS_PER_VENUE": 0,
    "MAX_EXPOSURE_USD": 10_000,
    "MAX_EXPOSURE_PER_SYMBOL_USD": 0,
    "MAX_ENTRIES_PER_MINUTE": 0,
    "SL_STREAK_LIMIT": 1_000,
    "MAX_DAILY_LOSS": 1_000_000,
}


def a_record(**settings: Any) -> Record:
    """Of two venues, with nothing in it."""
    plan = replace(plan_of(1), venues=("binance", "okx"), settings={**UNLIMITED, **settings})
    record = Record(plan)
    for venue in plan.venues:
        witness = Witness.__new__(Witness)
        witness.counts, witness.lives = [], []
        record.witnesses[venue] = witness
    return record


def opened(record: Record, venue: str, *, at_s: float, ours: int, entered: int) -> None:
    count = Count(at_s * 1_000, ours, Decimal(entered), flat=False, opened=True)
    record.witnesses[venue].counts.append(count)


def lived(record: Record, venue: str, *, since: float, until: float | None, by: str = "", made: int = 0) -> Life:
    life = Life(symbol="BTCUSDT" if venue == "binance" else "BTC-USDT-SWAP", side=1, opened=since * 1e3, opened_by=OURS)
    life.closed = None if until is None else until * 1_000
    life.let_go_by, life.made, life.bought = ({by} if by else set()), Decimal(made), Decimal(100)
    record.witnesses[venue].lives.append(life)
    return life


def wrong(
    record: Record,
    sent: Sequence[Sent] = (),
    legs: Mapping[str, str] | None = None,
    income: Mapping[str, Sequence[Income]] | None = None,
) -> list[str]:
    return list(over_limits(record, sent, legs or {}, income or {}, 0.0))


def test_an_entry_that_leaves_while_trading_is_stopped_is_found() -> None:
    record = a_record()
    record.no_entries = [Window(10.0, 20.0, "okx", "pause was answered"), Window(30.0, float("inf"), "", "KILL")]
    sent = [Sent(at_s, venue, OURS) for at_s in (9.0, 15.0, 25.0, 40.0) for venue in ("binance", "okx")]
    told = list(while_stopped(record, sent))
    assert [line.split(",")[0] for line in told] == [
        "okx: an entry left 15.000 s in",
        "binance: an entry left 40.000 s in",
        "okx: an entry left 40.000 s in",
    ]


def test_only_what_is_sent_under_the_name_of_an_entry_counts() -> None:
    rows = [
        {"method": "POST", "client_ids": ["a", "b"], "received": 3_000.0},
        {"method": "GET", "client_ids": ["a"], "received": 4_000.0},
    ]
    assert list(entries_sent("okx", rows, {"a": "entry", "b": "stop"}, 1_000.0)) == [Sent(2.0, "okx", "a")]


def test_positions_and_money_over_a_limit_are_found_over_all_venues() -> None:
    record = a_record(MAX_POSITIONS=2, MAX_POSITIONS_PER_VENUE=1, MAX_EXPOSURE_USD=150)
    opened(record, "binance", at_s=1.0, ours=1, entered=100)
    assert not wrong(record)
    opened(record, "okx", at_s=2.0, ours=1, entered=100)
    assert [line for line in wrong(record) if "MAX_EXPOSURE_USD" in line]
    opened(record, "okx", at_s=3.0, ours=2, entered=110)
    told = wrong(record)
    assert [line for line in told if "3 positions of ours at once 3.000 s in, 2 are allowed" in line]
    assert [line for line in told if "okx: 2 positions" in line]


def test_two_entries_in_one_coin_are_found_at_different_venues() -> None:
    record = a_record(MAX_EXPOSURE_PER_SYMBOL_USD=150)
    lived(record, "binance", since=1.0, until=5.0)
    lived(record, "okx", since=6.0, until=None)
    assert not wrong(record), "one after the other"
    lived(record, "binance", since=7.0, until=None)
    assert len(wrong(record)) == 1


def test_entries_that_come_too_fast_are_found() -> None:
    record = a_record(MAX_ENTRIES_PER_MINUTE=2)
    sent = [Sent(at_s, "okx", OURS) for at_s in (1.0, 30.0, 62.0)]
    assert not wrong(record, sent)
    assert wrong(record, [*sent, Sent(63.0, "binance", OURS)])


def test_an_entry_after_a_row_of_lost_stops_is_found_until_somebody_resumes() -> None:
    record = a_record(SL_STREAK_LIMIT=2)
    legs = {"stop 1": "stop", "stop 2": "stop", "close": "close"}
    lived(record, "binance", since=1.0, until=5.0, by="stop 1", made=-1)
    lived(record, "okx", since=2.0, until=10.0, by="stop 2", made=-1)
    late = [Sent(20.0, "okx", OURS)]
    assert wrong(record, late, legs)
    assert not wrong(record, [Sent(11.0, "okx", OURS)], legs), "it may not be known yet"
    record.resumed = [15.0]
    assert not wrong(record, late, legs)
    record.resumed = []
    record.down = [Window(9.0, 30.0)]
    assert not wrong(record, late, legs), "the daemon was down"
    record.down = []
    lived(record, "okx", since=6.0, until=7.0, by="close", made=1)
    assert not wrong(record, late, legs), "a win between them ends the row"


def test_an_entry_after_the_loss_of_a_day_is_found() -> None:
    record = a_record(MAX_DAILY_LOSS=5)
    lost = Income(id=1, asset="USDT", symbol=None, type=IncomeType.REALIZED_PNL, amount=Decimal(-7), time_ms=4_000)
    flat = Count(5_000.0, 0, Decimal(0), flat=True, opened=False)
    record.witnesses["okx"].counts.append(flat)
    late = [Sent(20.0, "binance", OURS)]
    assert wrong(record, late, income={"okx": [lost]})
    assert not wrong(record, late, income={"okx": [replace(lost, amount=Decimal(-4))]})
    record.own_hand = [Window(1.0, 1.0, "okx")]
    assert not wrong(record, late, income={"okx": [lost]}), "whose loss it was is not known"


@pytest.mark.parametrize(
    ("since", "until", "off"), [(9.0, 9.5, False), (9.0, 10.5, True), (11.0, 13.0, True), (12.5, 14.0, False)]
)
def test_a_venue_is_given_up_whose_key_was_refused_during_the_newest_start(
    since: float, until: float, off: bool
) -> None:
    record = a_record()
    record.down = [Window(0.0, 1.0, why="start"), Window(10.0, 12.0, why="start")]
    record.faulty = [Window(since, until, "okx", "revoke_key")]
    daemon = SimpleNamespace(status=SimpleNamespace(venues=()))
    assert given_up(record, cast("Daemon", daemon)) == ({"okx"} if off else set())


def test_what_goes_wrong_outside_is_its_seed_and_the_signal_server_takes_it() -> None:
    waves = plan_of(3).waves
    assert outside(3, waves, 60.0) == outside(3, waves, 60.0)
    drawn = [outside(seed, waves, 60.0) for seed in range(200)]
    assert all(parse_script("\n".join(map(json.dumps, around.lines))) or not around.lines for around in drawn)
    kinds = {next(iter(line.keys() - {"at_ms"})) for around in drawn for line in around.lines}
    assert kinds == {"close", "silence_ms", "raw", "signals"}
    for windows in (around.kill_file + around.disk for around in drawn):
        assert all(since < until <= 60.0 for since, until in windows)
    assert any(around.kill_file for around in drawn)
    assert any(around.disk for around in drawn)
    assert any(around.cancels for around in drawn)


@pytest.mark.parametrize("table", [GARBAGE, WRONG])
def test_what_the_signal_server_says_wrong_is_each_something_else(table: Sequence[Any]) -> None:
    assert len({str(entry) for entry in table}) == len(table)
