"""OKX's public stream: touch and mark of wanted swaps, two channels each, on one socket (§10).

Either channel speaks of changes only, the mark's every ten seconds besides. So what was said last holds while the
connection lives, and the two are put together here: a touch that moves tells nothing against the mark beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import msgspec

from core.domain.ids import Symbol
from core.errors import MalformedPayload
from core.venues.market_stream import Tick
from core.venues.okx import facts
from core.venues.okx.contracts import ContractTable
from core.venues.okx.market_reads import touch_of
from core.venues.okx.payloads import Event, MarkRow, Push, TickerRow
from core.venues.okx.user_feed import PING
from core.venues.payload import UNREADABLE, ms_in, price_in, whole_in
from core.venues.subscriptions import Answered

_TICKERS = msgspec.json.Decoder(Push[TickerRow])
_MARKS = msgspec.json.Decoder(Push[MarkRow])
_TICKERS_BEGIN = b'{"arg":{"channel":"tickers"'
_MARKS_BEGIN = b'{"arg":{"channel":"mark-price"'
_EVENT_NAMED = b'"event"'
_EVENT = msgspec.json.Decoder(Event)
_NAMED = re.compile(r"channel:([a-z-]+),instId:([A-Z0-9_-]+)")
_CHANNELS = ("tickers", "mark-price")


class PriceRoute:
    """Implements market_stream.PublicRoute."""

    name = "prices"
    batch = 100
    batch_bytes = None
    acknowledges = True
    steady = True
    quiet_seconds = facts.QUIET_SECONDS
    ping = PING

    def __init__(self, stream_root: str, table: ContractTable) -> None:
        self.url = stream_root + facts.PUBLIC_PATH
        self._table = table
        self._known: dict[str, Tick] = {}

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        listed = self._table.instruments
        return [f"{channel}:{listed[s].venue_symbol}" for s in symbols if s in listed for channel in _CHANNELS]

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return self.channels(symbols)

    def confirmed_within(self, channel: str) -> float:
        del channel
        return facts.CONFIRM_SECONDS

    def connected(self) -> None:
        """What an old connection said is not to be dated anew by the other channel of a new one."""
        self._known.clear()

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return _request("subscribe", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        for channel in channels:
            self._known.pop(channel.partition(":")[2], None)
        return _request("unsubscribe", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | Answered | None:
        try:
            if frame.startswith(_TICKERS_BEGIN):
                rows = _TICKERS.decode(frame).data
                return [
                    self._touch(row, c.instrument.symbol) for row in rows if (c := self._table.contract(row.instId))
                ]
            if frame.startswith(_MARKS_BEGIN):
                marks = _MARKS.decode(frame).data
                return [
                    self._mark(row, c.instrument.symbol) for row in marks if (c := self._table.contract(row.instId))
                ]
            return _answer(_EVENT.decode(frame)) if _EVENT_NAMED in frame else None
        except (*UNREADABLE, ValueError) as error:
            raise MalformedPayload("okx market stream", str(error)) from None

    async def picture(self) -> Sequence[Tick]:
        """Both channels begin with what is."""
        return ()

    def _touch(self, row: TickerRow, symbol: Symbol) -> Tick:
        return self._keep(row.instId, touch_of(row, symbol), f"tickers:{row.instId}")

    def _mark(self, row: MarkRow, symbol: Symbol) -> Tick:
        mark = price_in(row.markPx, "markPx")
        return self._keep(row.instId, Tick(symbol, mark, None, None, ms_in(row.ts, "ts")), f"mark-price:{row.instId}")

    def _keep(self, inst_id: str, told: Tick, channel: str) -> Tick:
        """With what the other channel said. Neither's stamp is older news than the other's."""
        known = self._known.get(inst_id, told)
        touch = known if told.mark is not None else told
        mark = known.mark if told.mark is None else told.mark
        newest = max(known.venue_time_ms, told.venue_time_ms)
        both = Tick(told.symbol, mark, touch.bid, touch.ask, newest, touch.last, channel)
        self._known[inst_id] = both
        return both


def _answer(event: Event) -> Answered | None:
    """Acknowledgements come one by one; an error names the request, and in its words mostly the channel."""
    if event.event == "subscribe" and event.arg is not None:
        return Answered(channels=(f"{event.arg.channel}:{event.arg.instId}",))
    number = whole_in(event.id)
    if event.event != "error" or number is None:
        return None
    named = _NAMED.search(event.msg)
    channels = () if named is None else (f"{named[1]}:{named[2]}",)
    return Answered(number=number, channels=channels, refused=True, words=f"{event.code} {event.msg}")


def _request(op: str, channels: Sequence[str], number: int) -> str:
    args = [{"channel": name, "instId": inst_id} for name, _, inst_id in (c.partition(":") for c in channels)]
    return json.dumps({"id": str(number), "op": op, "args": args})
