"""What closed positions came to, and the report that says so."""

from decimal import Decimal

from msgspec.structs import replace

from core.domain.day import MS_PER_DAY
from core.domain.money import Quantity
from core.domain.position import Position
from core.engine.performance import Performance, closed_trades, last_days, performance
from core.engine.reports import Report, report_text
from tests.builders import a_position

DAY = 20_000
START = DAY * MS_PER_DAY


def _closed(realized: str, at_ms: int, *, fees: str = "1", held_ms: int = 60_000) -> Position:
    return replace(
        a_position(),
        realized=Decimal(realized),
        fees=Decimal(fees),
        quantity=Quantity(Decimal(0)),
        exit_quantity=Quantity(Decimal(1)),
        exit_cost=Decimal(100),
        opened_ms=at_ms - held_ms,
        closed_ms=at_ms,
    )


def test_results_are_after_fees_and_only_of_what_was_closed_in_the_time() -> None:
    rows = [
        _closed("11", START),
        _closed("-4", START + 1),
        _closed("-5", START + 2),
        _closed("21", START + 3),
        _closed("100", START - 1),
        _closed("100", START + MS_PER_DAY),
        a_position(),
    ]
    told = performance(rows, START, START + MS_PER_DAY)
    assert (told.trades, told.won, told.lost) == (4, 2, 2)
    assert (told.gross, told.fees, told.result) == (23, 4, 19)
    assert told.win_rate_percent == 50
    assert told.profit_factor == Decimal(30) / 11
    assert (told.average_win, told.average_loss) == (15, Decimal("-5.5"))
    assert told.drawdown == 11
    assert told.losses_in_a_row == 2
    assert told.held_seconds == 60
    assert told.best is not None
    assert told.best.result == 20
    assert told.worst is not None
    assert told.worst.result == -6
    assert [(day.day, day.trades, day.result) for day in told.days] == [(DAY, 4, Decimal(19))]


def test_a_trade_that_came_to_nothing_is_neither_won_nor_lost() -> None:
    told = performance([_closed("1", START)], START, START + 1)
    assert (told.trades, told.won, told.lost, told.result) == (1, 0, 0, 0)
    assert told.profit_factor is None
    assert told.average_win is None


def test_a_time_without_trades_has_no_ratios() -> None:
    assert performance([], START, START + 1) == Performance(since_ms=START, until_ms=START + 1)


def test_a_position_that_went_at_an_unknown_price_has_no_exit_price() -> None:
    gone = replace(_closed("0", START), exit_quantity=Quantity(Decimal(0)), exit_cost=Decimal(0))
    assert closed_trades([gone], START, START + 1)[0].exit_price is None


def test_the_last_days_are_whole_days_with_today() -> None:
    assert last_days(START + 5, 1) == (START, START + MS_PER_DAY)
    assert last_days(START + 5, 7) == (START - 6 * MS_PER_DAY, START + MS_PER_DAY)


def test_a_report_says_what_is_unknown_and_ends_with_the_audit_head() -> None:
    told = performance([_closed("11", START), _closed("-4", START + 1)], START, START + MS_PER_DAY)
    text = report_text(
        Report(
            performance=told,
            result=Decimal("4.5"),
            funding=Decimal("-0.5"),
            open_positions=1,
            waves=3,
            refusals={"a": 9, "b": 8, "c": 7, "d": 6, "e": 5, "f": 4, "g": 3, "h": 2},
            uptime_s=43_200,
            longest_unprotected_ms=250,
            audit_seq=7,
            audit_hash="ab12",
        )
    )
    lines = text.splitlines()
    assert lines[0] == "2024-10-04 UTC: +5 from 2 closed trades"
    assert "account +4.5 with what is open and funding (1 open)" in lines
    assert "won 1, lost 1 (50 %), profit factor 2" in lines
    assert "fees 2, funding -0.5" in lines
    assert "signals refused: 9 a, 8 b, 7 c, 6 d, 5 e, 4 f, 5 other" in lines
    assert "3 waves, up 50.0 %, longest without a stop 250 ms" in lines
    assert lines[-2:] == ["unexplained: 0", "audit 7: ab12"]
    bare = report_text(Report(performance=performance([], START, START + 7 * MS_PER_DAY)))
    assert "2024-10-04 to 2024-10-10 UTC: 0 from 0 closed trades" in bare
    assert "funding unknown" in bare
    assert "longest without a stop unknown" in bare
