"""The replay: what it assumes, that it repeats itself to the byte, and what it says to input that cannot be used."""

import asyncio
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from random import Random
from signal import SIGINT, getsignal, raise_signal

import pytest
from msgspec.structs import replace

from core.config import load_settings
from core.domain.candle import Candle
from core.domain.ids import SignalId, VenueName
from core.domain.money import Price
from core.domain.signal import Side, Signal, SignalParameters
from core.engine.ports import SignalBatch
from core.logs import configure_logging
from core.signals.strategy_scan import StrategyScan
from tools import backtest
from tools.candle_replay import session as replay_session
from tools.candle_replay.candles import BadInput, Recording, read
from tools.candle_replay.loop import START_SECONDS, ReplayLoop
from tools.candle_replay.request import Request, account_of, settings_of
from tools.candle_replay.results import Trade
from tools.candle_replay.session import Outcome, Session
from tools.candle_replay.tape import Costs

MINUTE_MS = 60_000
START_MS = 1_700_006_400_000 // 3_600_000 * 3_600_000 + 3_600_000
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "btcusdt_perp_1m_2022-01-01_10.csv"
WARM = 20
"""Minutes of a still market before anything happens: the filters want to know the last five."""
FREE = Costs(spread=Decimal(0), slippage=Decimal(0))
Corner = tuple[str | float, str | float, str | float, str | float]


class _Told(Session):
    """Signals of a test, by the number of the candle at whose close they come."""

    signals: dict[int, tuple[Side, SignalParameters]]
    _number = 0

    def _ask(self, scan: StrategyScan | None, emit: Callable[[SignalBatch], None], candle: Candle) -> None:
        super()._ask(scan, emit, candle)
        told = self.signals.get(self._number)
        self._number += 1
        if told is None:
            return
        now_ms = candle.open_ms + MINUTE_MS
        signal = Signal(
            id=SignalId(str(self._number)),
            source="test",
            instrument=self.instrument.id,
            side=told[0],
            score=Decimal(1),
            event_time_ms=now_ms,
            expires_at_ms=now_ms + MINUTE_MS,
            parameters=told[1],
        )
        received = self.clock.monotonic()
        emit(SignalBatch(source="test", received=received, received_ms=now_ms, signals=(signal,), unusable=()))


def _candles(*corners: Corner) -> list[Candle]:
    still: list[Corner] = [(40_000, 40_000, 40_000, 40_000)] * WARM
    rows = []
    for number, row in enumerate([*still, *corners]):
        o, h, lo, c = (Price(Decimal(str(value))) for value in row)
        rows.append(Candle(START_MS + number * MINUTE_MS, o, h, lo, c, Decimal(100), Decimal(100) * c))
    return rows


def _play(
    candles: Sequence[Candle],
    *,
    side: Side = Side.BUY,
    at: Sequence[int] = (WARM - 1,),
    venue: VenueName = VenueName.BINANCE,
    costs: Costs = FREE,
    funding: str = "0",
    asked: SignalParameters | None = None,
    **settings: str,
) -> Outcome:
    """One signal at the close of the last still candle, unless told otherwise."""
    request = Request(
        strategy="none",
        data=Path("test.csv"),
        venue=venue,
        costs=costs,
        funding_percent=Decimal(funding),
        changes=tuple(settings.items()),
    )
    account = account_of(request)
    chosen = settings_of(request, load_settings({}, None, to_trade=False), account.instrument, "1m")
    recording = Recording(candles=candles, length_ms=MINUTE_MS, gaps=())
    session = _Told(chosen, account, recording, ReplayLoop())
    session.signals = {number: (side, asked or SignalParameters()) for number in at}
    with configure_logging(None, "CRITICAL", console=StringIO()):
        return session.play()


def _one(outcome: Outcome) -> Trade:
    (trade,) = outcome.recorder.trades
    return trade


# --- what is assumed ---


def test_an_entry_is_filled_at_the_next_open_after_the_latency() -> None:
    trade = _one(_play(_candles((40_010, 40_010, 40_010, 40_010), (40_010, 40_010, 40_010, 40_010))))
    assert trade.entry_price == 40_010
    assert trade.opened_ms == START_MS + WARM * MINUTE_MS + 50


def test_an_order_gains_nothing_by_a_price_that_moves_its_way_while_it_travels() -> None:
    falls = (40_000, 40_000, 39_600, 39_800)
    assert _one(_play(_candles(falls))).entry_price == 40_000
    rises = (40_000, 40_400, 40_000, 40_200)
    assert _one(_play(_candles(rises), side=Side.SELL)).entry_price == 40_000


def test_a_trade_after_most_of_a_year_ends_like_one_of_the_first_day() -> None:
    """A stop fires, an exit goes out and everything on the way arrives, however late it is in the recording."""
    falls = _candles((40_000, 40_000, 38_000, 38_000), (38_000, 38_000, 38_000, 38_000))
    later = [replace(candle, open_ms=candle.open_ms + 300 * 86_400_000) for candle in falls]
    outcome = _play([*falls, *later], at=(WARM - 1, len(falls) + WARM - 1))
    assert [trade.reason for trade in outcome.recorder.trades] == ["stop", "stop"]
    first, second = outcome.recorder.trades
    assert second.opened_ms - first.opened_ms == 300 * 86_400_000
    assert second.exit_price == first.exit_price


@pytest.mark.parametrize("venue", list(VenueName))
def test_spread_and_slippage_make_every_fill_worse(venue: VenueName) -> None:
    costs = Costs(spread=Decimal("0.1"), slippage=Decimal("0.1"))
    candles = _candles((40_000, 40_000, 40_000, 40_000), (40_000, 40_000, 39_000, 39_000))
    trade = _one(_play(candles, venue=venue, costs=costs))
    assert trade.reason == "stop", "that it was moved to where the fill put it is nothing to tell"
    assert trade.entry_price == 40_060  # half of 0.1 % and 0.1 % above
    stop = trade.stops[-1].price
    assert trade.exit_price < stop
    assert abs(trade.exit_price / stop - 1) <= Decimal("0.00151")
    assert trade.slippage == sum(fill.slippage for fill in trade.fills) > 0


@pytest.mark.parametrize("venue", list(VenueName))
@pytest.mark.parametrize("side", list(Side))
def test_the_extreme_against_the_position_comes_first(venue: VenueName, side: Side) -> None:
    """Both the stop and the take profit lie within the candle: the stop is what happens."""
    wide = (40_000, 41_500, 38_500, 40_000)
    candles = _candles((40_000, 40_000, 40_000, 40_000), wide)
    trade = _one(_play(candles, side=side, venue=venue, asked=SignalParameters(take_profit_percent=Decimal(1))))
    assert trade.reason == "stop"
    assert trade.exit_price == trade.stops[0].price == 40_000 - 800 * side.sign


@pytest.mark.parametrize("venue", list(VenueName))
def test_a_take_profit_closes_where_its_level_was_reached(venue: VenueName) -> None:
    candles = _candles((40_000, 40_000, 40_000, 40_000), (40_000, 41_000, 39_990, 40_900))
    trade = _one(_play(candles, venue=venue, asked=SignalParameters(take_profit_percent=Decimal(1))))
    assert trade.reason == "take_profit"
    assert 40_400 <= trade.exit_price <= 40_410, "at its level, and what the price did in 50 ms"
    assert trade.net == trade.gross - trade.fees


def test_a_stop_that_a_candle_opens_beyond_is_filled_at_that_open() -> None:
    candles = _candles((40_000, 40_000, 40_000, 40_000), (38_000, 38_500, 37_900, 38_400))
    assert _one(_play(candles)).exit_price == 38_000


@pytest.mark.parametrize("venue", list(VenueName))
def test_a_trailing_stop_follows_on_the_venue_and_says_so(venue: VenueName) -> None:
    rising = [(40_000 + n * 200, 40_200 + n * 200, 40_000 + n * 200, 40_200 + n * 200) for n in range(6)]
    candles = _candles((40_000, 40_000, 40_000, 40_000), *rising, (41_200, 41_200, 40_000, 40_000))
    trade = _one(_play(candles, venue=venue))
    levels = [stop.price for stop in trade.stops]
    assert len(levels) > 2
    assert levels == sorted(levels), "it is never loosened"
    assert trade.reason == "moved stop"
    assert trade.exit_price == levels[-1] > trade.entry_price


def test_a_time_limit_ends_a_position_in_a_market_that_stands_still() -> None:
    candles = _candles(*[(40_000, 40_000, 40_000, 40_000)] * 10)
    trade = _one(_play(candles, asked=SignalParameters(time_limit_minutes=Decimal(3))))
    assert trade.reason == "time_limit"
    assert 3 * MINUTE_MS <= trade.closed_ms - trade.opened_ms <= 4 * MINUTE_MS + 100


def test_funding_is_paid_by_who_is_long_every_eight_hours() -> None:
    minutes = [(40_000, 40_000, 40_000, 40_000)] * (9 * 60)
    trade = _one(_play(_candles(*minutes), funding="0.1", TIME_LIMIT_HOURS="20", MAX_POSITION_AGE_HOURS="19"))
    assert trade.reason == "still open"
    assert trade.funding == -trade.quantity * 40_000 / 1000


def test_what_is_refused_is_counted_with_its_reason() -> None:
    outcome = _play(_candles(*[(40_000, 40_000, 40_000, 40_000)] * 5), at=(WARM - 1, WARM + 1))
    assert outcome.recorder.signals == 2
    assert outcome.recorder.entered == 1
    assert dict(outcome.recorder.refusals) == {"duplicate_position": 1}


def test_candles_that_can_fire_nothing_are_passed_over_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, last, rows = Random(5), 40_000, []
    for _ in range(400):
        begin, last = last, last + chance.randint(-90, 90)
        rows.append((begin, max(begin, last) + chance.randint(0, 30), min(begin, last) - chance.randint(0, 30), last))
    signals = range(WARM, 400, 60)
    quick = _play(_candles(*rows), at=signals)
    monkeypatch.setattr(Session, "_calm", lambda _session, _candle: False)
    slow = _play(_candles(*rows), at=signals)
    assert quick.walked < slow.walked / 3
    assert len(quick.recorder.trades) > 2
    assert quick.recorder.trades == slow.recorder.trades


def _trailed(*corners: Corner) -> Trade:
    """From 0.2 % profit on, 0.1 % behind the best price."""
    return _one(
        _play(
            _candles(*corners),
            TRAILING_ACTIVATION_PERCENT="0.2",
            TRAILING_CALLBACK_PERCENT="0.1",
            BREAKEVEN_ACTIVATION_PERCENT="0",
        )
    )


def test_a_stop_follows_at_the_first_price_or_moment_that_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by halving: the same as asking at every tick of the way."""
    halved, found = Session._where_a_stop_moves, []

    def compared(self: Session, here: int, end: int) -> int | None:
        step, now_ms, tick = 1 if end > here else -1, self.clock.exact_ms(), self.instrument.tick
        exits, name, when = self._engine.exits, self.instrument.id, self._tape.when
        every = range(here + step, end, step)
        first = (at for at in every if exits.would_move(name, Price(at * tick), when(at) - now_ms))
        answer = halved(self, here, end)
        assert answer == next(first, None)
        if answer is not None:
            found.append(step)
        return answer

    monkeypatch.setattr(Session, "_where_a_stop_moves", compared)
    rising = [(40_000 + n * 80, 40_100 + n * 80, 39_990 + n * 80, 40_080 + n * 80) for n in range(6)]
    trade = _trailed(*rising, (40_480, 40_480, 39_000, 39_000))
    assert len(trade.stops) > 3
    assert set(found) == {1, -1}, "on the way up by the price, and on the way down when enough time has passed"


def test_a_minute_of_ever_better_prices_is_looked_at_where_something_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    look, looks = Session._look, []

    def counted(self: Session) -> None:
        looks.append(self.clock.now_ms())
        look(self)

    monkeypatch.setattr(Session, "_look", counted)
    trade = _trailed((40_000, 40_000, 40_000, 40_000), (40_000, 40_600, 40_000, 40_600))
    assert len(trade.stops) > 1
    assert len(looks) < 40, "6,000 ticks"


# --- the file ---


def _write(path: Path, rows: Sequence[str], header: str = "timestamp,open,high,low,close,volume") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _row(minute: int, prices: str = "10,12,9,11,5", unit: int = 1) -> str:
    return f"{(START_MS + minute * MINUTE_MS) // unit},{prices}"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["x,1,2,1,1,1", _row(1)], "line 2"),
        ([_row(0), _row(0)], "repeats the time"),
        ([_row(1), _row(0)], "sort the file"),
        ([_row(0), _row(1, "10,9,9,10,5")], "between low and high"),
        ([_row(0), _row(1, "10,12,9,11,-5")], "negative"),
        ([_row(0), _row(1, "10,12,9,NaN,5")], "not finite"),
        ([_row(0), _row(1, "10,12,9")], "column is missing"),
        ([_row(0), _row(1, "10,12,9,abc,5")], "not a number"),
        ([_row(0)], "at least two"),
        ([_row(0), _row(7)], "420 s apart"),
        (["1700000001,10,12,9,11,5", "1700000061,10,12,9,11,5"], "does not open at"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_sentence(tmp_path: Path, rows: list[str], said: str) -> None:
    path = _write(tmp_path / "bad.csv", rows)
    with pytest.raises(BadInput) as refused:
        read(path)
    text = str(refused.value)
    assert said in text
    assert text.endswith(".")
    assert "\n" not in text


def test_times_may_be_seconds_milliseconds_or_iso(tmp_path: Path) -> None:
    iso = ["2023-11-15T00:00:00Z,10,12,9,11,5", "2023-11-15 00:01:00,10,12,9,11,5"]
    first = read(_write(tmp_path / "iso.csv", iso)).candles[0].open_ms
    assert first == 1_700_006_400_000
    seconds = read(_write(tmp_path / "s.csv", [_row(0, unit=1000), _row(1, unit=1000)])).candles
    assert [c.open_ms for c in seconds] == [START_MS, START_MS + MINUTE_MS]
    assert seconds == read(_write(tmp_path / "ms.csv", [_row(0), _row(1)])).candles


def test_gaps_are_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path / "gaps.csv", [_row(n, "40000,40000,40000,40000,5") for n in (0, 1, 5, 6, 8)])
    assert [gap.missing for gap in read(path).gaps] == [3, 1]
    assert _run("--strategy", "none", "--data", str(path)) == 0
    assert "2 gaps, 4 candles are missing" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere.csv"], "cannot be read"),
        (["--strategy", "nothing"], "does not exist"),
        (["--timeframe", "7m"], "not one of"),
        (["--from", "2023-11-16", "--to", "2023-11-15"], "is not before"),
        (["--from", "tomorrow"], "no date"),
        (["--from", "2030-01-01"], "No candle"),
        (["--symbol", "NOPE/USDT:USDT"], "not in the simulator's list"),
        (["--set", "NO_SUCH_SETTING=1"], "is not a setting"),
        (["--set", "LEVERAGE=0"], "LEVERAGE=0"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    path = _write(tmp_path / "fine.csv", [_row(n) for n in range(3)])
    assert _run("--strategy", "none", "--data", str(path), *options) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_candles_are_joined_to_longer_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row(n, f"{10 + n},{12 + n},{9 + n},{11 + n},5") for n in range(11)]
    assert (
        _run("--strategy", "none", "--data", str(_write(tmp_path / "m.csv", rows)), "--timeframe", "5m", "--json") == 0
    )
    told = json.loads(capsys.readouterr().out)["replay"]
    assert (told["timeframe"], told["candles"], told["gaps"]) == ("5m", 2, 0)


def test_ctrl_c_ends_a_replay_between_two_candles_with_one_line_and_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while some step of the engine asks for the time."""
    loops: list[ReplayLoop] = []

    class Interrupted(ReplayLoop):
        def time(self) -> float:
            if super().time() > START_SECONDS + 3_600 * 500 and not loops:
                loops.append(self)
                raise_signal(SIGINT)
            return super().time()

    monkeypatch.setattr(replay_session, "ReplayLoop", Interrupted)
    before, page = getsignal(SIGINT), tmp_path / "page.html"
    data = ("--strategy", "trend_atr", "--data", str(_hours(tmp_path / "h.csv")), "--report", str(page))
    assert _run(*data) == 130
    assert capsys.readouterr() == ("", "Stopped; nothing was written.\n")
    assert not asyncio.all_tasks(loops[0])
    assert not page.exists()
    assert getsignal(SIGINT) is before


def _hours(path: Path) -> Path:
    """A way up that gets steeper, in candles of an hour."""
    rows = []
    for number in range(600):
        price = 40_000 + number * 20 + (300 if number % 40 > 37 else 0)
        rows.append(f"{START_MS + number * 60 * MINUTE_MS},{price},{price + 30},{price - 30},{price + 20},100")
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return path


def test_signals_of_candles_too_long_for_the_five_minute_filter_are_played_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--strategy", "trend_atr", "--data", str(_hours(tmp_path / "h.csv")), "--json")
    assert _run(*data) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["figures"]["trades"] > 0
    assert any("too long to tell the move of five minutes" in line for line in told["assumptions"])
    assert _run(*data, "--set", "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING=refuse") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["figures"]["trades"] == 0
    assert not any("too long" in line for line in told["assumptions"])


# --- what comes out ---


def _run(*options: str) -> int:
    return backtest.main(["--env-file", "/dev/null", *options])


@pytest.mark.skipif(not REAL.exists(), reason="the recorded candles are not on this machine")
def test_the_same_replay_is_the_same_to_the_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, pages = [], []
    for number in range(2):
        page = tmp_path / str(number) / "page.html"
        page.parent.mkdir()
        options = ("--strategy", "trend_atr", "--data", str(REAL), "--from", "2022-01-01", "--to", "2022-01-03")
        assert _run(*options, "--json", "--report", str(page)) == 0
        told.append(capsys.readouterr().out)
        pages.append(page.read_bytes())
    assert told[0] == told[1]
    assert pages[0] == pages[1]
    document = json.loads(told[0])
    assert document["figures"]["trades"] == len(document["trades"]) > 5
    net = sum(Decimal(trade["net"]) for trade in document["trades"])
    assert abs(net - Decimal(document["figures"]["net"])) < Decimal("0.01")
    assert str(tmp_path) not in told[0] + pages[0].decode()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row(n, "40000,40000,40000,40000,5") for n in range(30)]
    path = tmp_path / "page.html"
    assert _run("--strategy", "none", "--data", str(_write(tmp_path / "<b>.csv", rows)), "--report", str(path)) == 0
    text, page = path.read_text(), _Page()
    page.feed(text)
    assert (page.open, page.outside) == ([], [])
    assert "{{" not in text
    assert "<b>.csv" not in text
    assert "http" not in text
    assert str(path) in capsys.readouterr().out.replace("\n", "")


def test_the_table_fits_eighty_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = _write(tmp_path / "calm.csv", [_row(n, "40000,40000,40000,40000,5") for n in range(5)])
    assert _run("--strategy", "none", "--data", str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
