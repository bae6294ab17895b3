"""Pictures: candles with what was traded in them, and the account over time."""

from __future__ import annotations

from typing import Final

from core.domain.candle import TIMEFRAME_MS
from core.domain.ids import InstrumentId
from core.domain.money import ZERO, plain
from core.domain.signal import Side
from core.domain.symbols import SymbolAmbiguous
from core.engine.past import Past
from core.engine.performance import last_days
from core.engine.queries import PositionRow
from core.errors import VenueError
from tgbot.commands.history import MOST_DAYS
from tgbot.drawing import PictureFailed
from tgbot.page import Page, page
from tgbot.registry import Ask, Command, Misused, Picture
from tgbot.tables import money, named, price

CANDLES: Final = 96
DEFAULT_TIMEFRAME: Final = "15m"
EQUITY_DAYS: Final = 30
POINTS: Final = 500


async def chart(ask: Ask) -> Page | Picture:
    if not 1 <= len(ask.arguments) <= 3:
        raise Misused("which symbol? e.g. /chart BTCUSDT 1h")
    rest = [word.lower() for word in ask.arguments[1:]]
    frames = [word for word in rest if word in TIMEFRAME_MS]
    venues = [word for word in rest if word not in TIMEFRAME_MS]
    timeframe = frames[0] if frames else DEFAULT_TIMEFRAME
    instrument = _instrument(ask, venues[0] if venues else None)
    held = next((row for row in ask.desk.queries.positions() if row.instrument == instrument), None)
    try:
        candles = await ask.desk.candles(instrument, timeframe, CANDLES)
        if not candles:
            return page(f"{named(instrument)} has no closed candles of {timeframe} yet.")
        data = {
            "kind": "candles",
            "title": f"{named(instrument)} {timeframe}",
            "candles": [[c.open_ms, *map(plain, (c.open, c.high, c.low, c.close))] for c in candles],
            "length_ms": TIMEFRAME_MS[timeframe],
            "levels": _levels(held),
            "fills": await _fills(ask.desk.past, instrument, candles[0].open_ms),
        }
        return Picture(png=await ask.draw(data), caption=_caption(instrument, timeframe, held))
    except (VenueError, PictureFailed) as error:
        return page(f"No picture of {named(instrument)}: {error}")


def _instrument(ask: Ask, venue: str | None) -> InstrumentId:
    """The one that is held where several venues list it. Raises Misused."""
    found: list[InstrumentId] = []
    for spelling in ask.spellings():
        try:
            listed = ask.desk.instruments(spelling)
        except SymbolAmbiguous as error:
            raise Misused(str(error)) from None
        found += [one for one in listed if venue is None or one.venue.value == venue]
    if not found:
        where = "" if venue is None else f" at {venue}"
        raise Misused(f"no swap {ask.arguments[0]} is listed{where}; time frames: {', '.join(TIMEFRAME_MS)}")
    held = {row.instrument for row in ask.desk.queries.positions()}
    return next((one for one in found if one in held), found[0])


def _levels(held: PositionRow | None) -> list[dict[str, str]]:
    if held is None:
        return []
    told = [("entry", held.entry_price), ("stop", held.stop), ("mark", held.mark)]
    return [{"name": name, "price": plain(level)} for name, level in told if level is not None]


async def _fills(past: Past, instrument: InstrumentId, since_ms: int) -> list[dict[str, object]]:
    fills = await past.fills(instrument, since_ms)
    return [{"time_ms": fill.venue_time_ms, "price": plain(fill.price), "buy": fill.side is Side.BUY} for fill in fills]


def _caption(instrument: InstrumentId, timeframe: str, held: PositionRow | None) -> str:
    what = f"{named(instrument)}, {timeframe}, UTC"
    if held is None:
        return f"{what}; nothing is held"
    result = money(held.unrealized, signed=True)
    stop = "no stop" if held.stop is None else f"stop {price(held.stop)}"
    return f"{what}; {held.side} @ {price(held.entry_price)}, {stop}, result {result}"


async def equity(ask: Ask) -> Page | Picture:
    days = ask.number(EQUITY_DAYS, MOST_DAYS)
    now = ask.clock.now_ms()
    since, until = last_days(now, days)
    results = await ask.desk.past.results(since, until, POINTS)
    if not results:
        return page(f"Nothing was closed in {'today' if days == 1 else f'{days} days'}; there is no line to draw.")
    figures = ask.desk.queries.risk()
    closed = figures.equity - sum((row.unrealized or ZERO for row in ask.desk.queries.positions()), ZERO)
    start = closed - results[-1][1]  # so that the line ends at what the account is now
    since = max(since, results[0][0] - (now - results[0][0]) // 20)  # a line does not start long before the first trade
    points = [(since, start), *((at, start + together) for at, together in results), (now, closed)]
    data = {
        "kind": "line",
        "title": f"Account over {days} days",
        "points": [[at, plain(value)] for at, value in points],
        "now": plain(figures.equity),
    }
    caption = (
        f"As closed trades made it, UTC; {money(figures.equity)} with what is open, peak {money(figures.equity_peak)}"
    )
    try:
        return Picture(png=await ask.draw(data), caption=caption)
    except PictureFailed as error:
        return page(f"No picture: {error}")


COMMANDS: Final = (
    Command(
        name="chart", told="candles, entry, stop, fills", answer=chart, usage="SYMBOL [1h] [venue]", section="Results"
    ),
    Command(name="equity", told="the account as a line", answer=equity, usage="[days]", section="Results"),
)
