"""OKX's private streams: one socket for orders, positions and money, another for stops; each logs in by itself (§8).

Neither replays orders, so what a gap hides is read by request. A change of leverage comes without its figure; an open
position's row has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import decimal_of
from core.domain.reports import LeverageReport, MarginCallReport, PositionReport, PositionSide, Report, Source
from core.errors import MalformedPayload
from core.venues.login_gate import LoginGate
from core.venues.okx import facts
from core.venues.okx.codes import ERRORS
from core.venues.okx.contracts import ContractTable
from core.venues.okx.margin import MarginBook
from core.venues.okx.parse import POSITION_SIDES, algo_report, order_reports, position_report
from core.venues.okx.payloads import (
    AccountRow,
    AccountUpdate,
    AlgoRow,
    Arg,
    Event,
    OrderRow,
    PositionRow,
    Push,
    WarningRow,
)
from core.venues.okx.signing import Credentials, login
from core.venues.okx.wallet import WalletLog, balance_reports
from core.venues.payload import UNREADABLE, ms_in, whole_in
from core.venues.private_session import (
    Leave,
    LoggedIn,
    LoginRefused,
    Notice,
    Pictured,
    Subscribed,
    SubscriptionRefused,
)
from core.venues.reconnecting import TextPing
from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

PING = TextPing(text=lambda: "ping", every=facts.PING_SECONDS, within=facts.SILENCE_SECONDS - facts.PING_SECONDS - 1)
_EVENTS_ONLY = json.dumps({"updateInterval": "0"})
"""Without it every figure is repeated every five seconds."""
PRIVATE_CHANNELS: dict[str, dict[str, str]] = {
    "orders": {"instType": "SWAP"},
    "positions": {"instType": "SWAP", "extraParams": _EVENTS_ONLY},
    "account": {"extraParams": _EVENTS_ONLY},
    "balance_and_position": {},
    "liquidation-warning": {"instType": "SWAP"},
}
BUSINESS_CHANNELS: dict[str, dict[str, str]] = {
    "orders-algo": {"instType": "SWAP"},
    "algo-advance": {"instType": "SWAP"},
}
"""Stops; and trailing stops, which are told apart from them."""
_PICTURED = frozenset({"account", "balance_and_position"})
"""Channels that begin with a picture even of an empty account; `positions` may have none to tell."""
_SILENT = frozenset({"unsubscribe", "channel-conn-count"})
_EVENT = msgspec.json.Decoder(Event)


class UserFrames:
    """Bytes -> reports, for all connections: it remembers wallets and margins from one to the next."""

    def __init__(self, table: ContractTable, margin: MarginBook) -> None:
        self._table, self._margin = table, margin
        self._wallets = WalletLog()
        self._needed: dict[tuple[InstrumentId, PositionSide], PositionRow] = {}
        self._leverages: dict[InstrumentId, int] = {}
        self._channels: dict[bytes, Callable[[bytes], Sequence[Report] | Notice]] = {
            b"orders": _pushed(OrderRow, self._orders),
            b"orders-algo": _pushed(AlgoRow, self._algos),
            b"algo-advance": _pushed(AlgoRow, self._algos),
            b"positions": _pushed(PositionRow, self._positions),
            b"account": _pushed(AccountRow, self._account, picture="account"),
            b"balance_and_position": _pushed(AccountUpdate, self._update, picture="balance_and_position"),
            b"liquidation-warning": _pushed(WarningRow, self._warning),
        }

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        """A push, in order; None for a channel we do not know. Raises MalformedPayload."""
        try:
            channel = _channel(frame)
            decoder = self._channels.get(channel)
            if decoder is not None:
                return decoder(frame)
        except UNREADABLE as error:
            raise MalformedPayload("okx private stream", str(error)) from None
        log.info("stream.unknown_event", venue=VenueName.OKX, name=channel[:40].decode("utf-8", "replace"))
        return None

    def _orders(self, row: OrderRow) -> Sequence[Report]:
        contract = self._table.contract(row.instId)
        return () if contract is None else order_reports(row, contract, Source.STREAM)

    def _algos(self, row: AlgoRow) -> Sequence[Report]:
        contract = self._table.contract(row.instId)
        return () if contract is None else (algo_report(row, contract, Source.STREAM),)

    def _positions(self, row: PositionRow) -> Sequence[Report]:
        report = self._position(row)
        if report is None:
            return ()
        self._needed[report.instrument, report.position_side] = row
        return (report, *self._leverage(report.instrument, row))

    def _position(self, row: PositionRow) -> PositionReport | None:
        contract = self._table.contract(row.instId)
        report = None if contract is None else position_report(row, contract, Source.STREAM)
        return report if report is not None and self._margin.hear(report) else None

    def _leverage(self, instrument: InstrumentId, row: PositionRow) -> Sequence[LeverageReport]:
        """Told when it is another one than last time."""
        try:
            leverage = int(decimal_of(row.lever, "lever")) if row.lever else None
        except ValueError as error:
            raise MalformedPayload("okx position", str(error)) from None
        if leverage is None or self._leverages.get(instrument) == leverage:
            return ()
        self._leverages[instrument] = leverage
        return (LeverageReport(instrument=instrument, leverage=leverage, venue_time_ms=ms_in(row.uTime, "uTime")),)

    def _account(self, row: AccountRow) -> Sequence[Report]:
        return balance_reports(row, Source.STREAM, complete=False)

    def _update(self, update: AccountUpdate) -> Sequence[Report]:
        positions = (self._position(row) for row in update.posData)
        return (*self._wallets.changed(update), *(report for report in positions if report is not None))

    def _warning(self, row: WarningRow) -> Sequence[Report]:
        """It names the position and how near its liquidation is; what it needs stands in the position's own row."""
        contract = self._table.contract(row.instId)
        side = POSITION_SIDES.get(row.posSide)
        log.warning("stream.liquidation_warning", venue=VenueName.OKX, inst_id=row.instId, ratio=row.mgnRatio)
        known = None if contract is None or side is None else self._needed.get((contract.instrument, side))
        if contract is None or side is None or known is None:
            return ()
        try:
            return (
                MarginCallReport(
                    instrument=contract.instrument,
                    position_side=side,
                    maintenance_margin=decimal_of(known.mmr, "mmr"),
                    unrealized=decimal_of(known.upl, "upl"),
                    venue_time_ms=ms_in(known.uTime, "uTime"),
                ),
            )
        except ValueError as error:
            raise MalformedPayload("okx liquidation-warning", str(error)) from None


def _pushed(
    shape: type[_T], read: Callable[[_T], Sequence[Report]], *, picture: str = ""
) -> Callable[[bytes], Sequence[Report] | Notice]:
    """A decoder of one channel. `picture`: its first push is its picture, which may come in pages."""
    decoder: msgspec.json.Decoder[Push[_T]] = msgspec.json.Decoder(Push[shape])  # type: ignore[valid-type]

    def decode(frame: bytes) -> Sequence[Report] | Notice:
        push = decoder.decode(frame)
        reports = read(push.data[0]) if len(push.data) == 1 else [r for row in push.data for r in read(row)]
        return Pictured((picture,), reports) if picture and push.lastPage else reports

    return decode


def _channel(frame: bytes) -> bytes:
    """The channel's name stands first in every push seen, so it is read without parsing the rest."""
    begin = b'{"arg":{"channel":"'
    if frame.startswith(begin):
        end = frame.find(b'"', len(begin), len(begin) + 64)
        if end > 0:
            return frame[len(begin) : end]
    return _HEAD.decode(frame).arg.channel.encode()


class _Head(msgspec.Struct, frozen=True):
    arg: Arg


_HEAD = msgspec.json.Decoder(_Head)


class _Socket(Struct, frozen=True, kw_only=True):
    """One of the two sockets: where it is, and what is asked for on it (channel -> the rest of its argument)."""

    name: str
    path: str
    channels: dict[str, dict[str, str]]


SOCKETS = (
    _Socket(name="private", path=facts.PRIVATE_PATH, channels=PRIVATE_CHANNELS),
    _Socket(name="business", path=facts.BUSINESS_PATH, channels=BUSINESS_CHANNELS),
)


class OkxSession:
    """Implements private_session.PrivateSession for one socket of one connection."""

    ping = PING

    def __init__(
        self, socket: _Socket, stream_root: str, credentials: Credentials, frames: UserFrames, clock: VenueClock
    ) -> None:
        self.name, self.url = socket.name, stream_root + socket.path
        self._channels, self._credentials, self._frames, self._clock = socket.channels, credentials, frames, clock
        self.topics: Sequence[str] = tuple(socket.channels)
        self.pictured = _PICTURED & frozenset(socket.channels)
        self._in = False

    def login(self) -> str:
        return login(self._credentials, self._clock.now_ms())

    def subscription(self) -> Sequence[str]:
        """A frame for each, because a refusal names nothing but the frame it answers."""
        return [
            json.dumps({"id": str(number), "op": "subscribe", "args": [{"channel": channel, **rest}]})
            for number, (channel, rest) in enumerate(self._channels.items())
        ]

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        if frame.startswith(b'{"arg"'):
            return self._frames.decode(frame)
        if frame == b"pong":
            return ()
        if b'"event"' in frame[:80]:
            return self._event(frame)
        return self._frames.decode(frame)

    def _event(self, frame: bytes) -> Sequence[Report] | Notice | None:
        try:
            event = _EVENT.decode(frame)
        except UNREADABLE as error:
            raise MalformedPayload("okx private stream", str(error)) from None
        match event.event:
            case "login" if event.code == "0":
                self._in = True
                return LoggedIn()
            case "login" | "error" if not self._in:
                return LoginRefused(ERRORS.error(200, event.code, event.msg, venue_ms=self._clock.now_ms()))
            case "error":
                return SubscriptionRefused(self._asked(event.id), event.code, event.msg)
            case "channel-conn-count-error":
                return SubscriptionRefused((event.channel,), event.code, "too many connections have this channel")
            case "subscribe" if event.arg is not None:
                return Subscribed((event.arg.channel,))
            case "notice" if event.code == facts.RECONNECT_NOTICE:
                return Leave(event.msg)
            case name if name in _SILENT:
                return ()
            case name:
                log.info("stream.unknown_event", venue=VenueName.OKX, name=name[:40], code=event.code)
                return None

    def _asked(self, number: str) -> tuple[str, ...]:
        known = self.topics
        at = whole_in(number)
        return () if at is None or at >= len(known) else (known[at],)


class OkxUserFeed:
    """Implements private_session.PrivateFeed."""

    venue = VenueName.OKX
    connection_seconds = facts.CONNECTION_SECONDS
    keep_alive_seconds = None

    def __init__(
        self, stream_root: str, credentials: Credentials, frames: UserFrames, clock: VenueClock, gate: LoginGate
    ) -> None:
        self._stream_root, self._credentials, self._clock = stream_root, credentials, clock
        self._frames, self.gate = frames, gate

    async def sessions(self) -> Sequence[OkxSession]:
        return [
            OkxSession(socket, self._stream_root, self._credentials, self._frames, self._clock) for socket in SOCKETS
        ]

    async def keep_alive(self) -> None:
        """Pings do."""
