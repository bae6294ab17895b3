"""Bybit's private stream: one socket that logs in and subscribes to four topics. None of them begins with a picture,
and nothing that was missed is told again: what a gap hides is read by request (§8.1)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING
from typing import TypeVar

import msgspec
import structlog

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import decimal_of
from core.domain.reports import LeverageReport, MarginCallReport, PositionReport, Report, Source
from core.errors import MalformedPayload
from core.venues.bybit import facts
from core.venues.bybit.account import Account, Credentials
from core.venues.bybit.codes import ERRORS, login_code
from core.venues.bybit.market_feed import PING
from core.venues.bybit.parse import fill_report, order_reports, position_report, settle_coin
from core.venues.bybit.payloads import ExecutionRow, Head, OrderRow, PositionRow, Push, WalletRow
from core.venues.login_gate import LoginGate
from core.venues.payload import UNREADABLE, amount_in
from core.venues.private_session import LoggedIn, LoginRefused, Notice, Subscribed, SubscriptionRefused
from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

_HEAD = msgspec.json.Decoder(Head)
_LIQUIDATING = "Liq"
_TOPIC = b'"topic":"'
_HEAD_BYTES = 120


class UserFrames:
    """Bytes -> reports, for all connections."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._leverages: dict[InstrumentId, int] = {}
        self._topics: dict[bytes, Callable[[bytes], Sequence[Report]]] = {
            b"order": _pushed(OrderRow, self._order),
            b"execution": _pushed(ExecutionRow, self._execution),
            b"position": _pushed(PositionRow, self._position),
            b"wallet": _pushed(WalletRow, self._wallet),
        }

    def decode(self, frame: bytes) -> Sequence[Report] | Head | None:
        """Reports of a push, in order; the head of what answers us; None for a topic we do not know. Raises
        MalformedPayload."""
        try:
            decoder = self._topics.get(_topic(frame))
            if decoder is not None:
                return decoder(frame)
            head = _HEAD.decode(frame)
            if (decoder := self._topics.get(head.topic.encode())) is not None:
                return decoder(frame)
        except UNREADABLE as error:
            raise MalformedPayload("bybit private stream", str(error)) from None
        if not head.topic:
            return head
        log.info("stream.unknown_event", venue=VenueName.BYBIT, name=head.topic[:40])
        return None

    def _order(self, row: OrderRow, _time_ms: int) -> Sequence[Report]:
        instrument = self._linear(row.category, row.symbol)
        return () if instrument is None else order_reports(row, instrument, Source.STREAM, self._account.stops)

    def _execution(self, row: ExecutionRow, _time_ms: int) -> Sequence[Report]:
        instrument, account = self._linear(row.category, row.symbol), self._account
        if instrument is None:
            return ()
        if row.execType == facts.FUNDING:
            funded = account.wallets.funded(row, settle_coin(instrument))
            return () if funded is None else (funded,)
        if row.execType not in facts.FILLS:
            log.info("stream.unknown_event", venue=VenueName.BYBIT, name=f"execution {row.execType[:40]}")
            return ()
        fill = fill_report(row, instrument, Source.STREAM, account.stops, account.modes)
        account.wallets.traded(settle_coin(instrument))
        return (fill,)

    def _position(self, row: PositionRow, _time_ms: int) -> Sequence[Report]:
        instrument = self._linear(row.category, row.symbol)
        if instrument is None:
            return ()
        report = position_report(row, instrument, Source.STREAM)
        try:
            return (report, *self._leverage(row, report), *_margin_call(row, report))
        except ValueError as error:
            raise MalformedPayload("bybit position", str(error)) from None

    def _leverage(self, row: PositionRow, report: PositionReport) -> Sequence[LeverageReport]:
        """Told when it is another one than last time."""
        leverage = whole_leverage(row.leverage)
        if leverage is None or self._leverages.get(report.instrument) == leverage:
            return ()
        self._leverages[report.instrument] = leverage
        return (LeverageReport(instrument=report.instrument, leverage=leverage, venue_time_ms=report.venue_time_ms),)

    def _wallet(self, row: WalletRow, time_ms: int) -> Sequence[Report]:
        return self._account.wallets.pushed(row, time_ms)

    def _linear(self, category: str, symbol: str) -> InstrumentId | None:
        """Spot pairs have the same names as swaps."""
        return self._account.symbols.unified(symbol) if category == facts.CATEGORY else None


def _topic(frame: bytes) -> bytes:
    """The topic stands near the beginning of every push seen, so it is read without parsing the rest; b"" else."""
    at = frame.find(_TOPIC, 0, _HEAD_BYTES)
    end = frame.find(b'"', at + len(_TOPIC), at + len(_TOPIC) + _HEAD_BYTES) if at >= 0 else -1
    return frame[at + len(_TOPIC) : end] if end > 0 else b""


def whole_leverage(text: str) -> int | None:
    """None where it is not told. A broken figure counts as the next whole one: it is not the one that was asked for.
    Raises ValueError."""
    return int(decimal_of(text, "leverage").to_integral_value(ROUND_CEILING)) if text else None


def _margin_call(row: PositionRow, report: PositionReport) -> Sequence[MarginCallReport]:
    """The venue warns of nothing; it says when it has begun to take a position over."""
    if row.positionStatus != _LIQUIDATING or not report.quantity:
        return ()
    return (
        MarginCallReport(
            instrument=report.instrument,
            position_side=report.position_side,
            maintenance_margin=amount_in(row.positionMM, "positionMM"),
            unrealized=amount_in(row.unrealisedPnl, "unrealisedPnl"),
            venue_time_ms=report.venue_time_ms,
        ),
    )


def _pushed(shape: type[_T], read: Callable[[_T, int], Sequence[Report]]) -> Callable[[bytes], Sequence[Report]]:
    """A decoder of one topic's frames."""
    decoder: msgspec.json.Decoder[Push[_T]] = msgspec.json.Decoder(Push[shape])  # type: ignore[valid-type]

    def decode(frame: bytes) -> Sequence[Report]:
        push = decoder.decode(frame)
        if len(push.data) == 1:
            return read(push.data[0], push.creationTime)
        return [report for row in push.data for report in read(row, push.creationTime)]

    return decode


class BybitSession:
    """Implements private_session.PrivateSession."""

    name = "private"
    ping = PING
    topics: Sequence[str] = facts.TOPICS
    pictured: frozenset[str] = frozenset()

    def __init__(self, url: str, credentials: Credentials, frames: UserFrames, clock: VenueClock) -> None:
        self.url = url
        self._credentials, self._frames, self._clock = credentials, frames, clock

    def login(self) -> str:
        expires = self._clock.now_ms() + facts.AUTH_AHEAD_MS
        text = f"GET/realtime{expires}"
        signature = hmac.new(self._credentials.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return json.dumps({"req_id": "auth", "op": "auth", "args": [self._credentials.key, expires, signature]})

    def subscription(self) -> Sequence[str]:
        """A request for each, because a refusal names nothing but the request it answers."""
        return [json.dumps({"req_id": topic, "op": "subscribe", "args": [topic]}) for topic in self.topics]

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        told = self._frames.decode(frame)
        return self._notice(told) if isinstance(told, Head) else told

    def _notice(self, head: Head) -> Sequence[Report] | Notice | None:
        words = head.ret_msg or head.retMsg
        asked = (str(head.req_id),) if head.req_id in facts.TOPICS else ()
        match head.op:
            case "auth" if head.success and not head.retCode:
                return LoggedIn()
            case "auth":
                code = login_code(head.retCode, words)
                return LoginRefused(ERRORS.error(200, code, words, venue_ms=self._clock.now_ms()))
            case "subscribe" if head.success or "already subscribed" in words:
                return Subscribed(asked)
            case "subscribe":
                return SubscriptionRefused(asked, str(head.retCode or ""), words)
            case "pong" | "ping" | "unsubscribe":
                return ()
        return None


class BybitUserFeed:
    """Implements private_session.PrivateFeed."""

    venue = VenueName.BYBIT
    connection_seconds = facts.CONNECTION_SECONDS
    keep_alive_seconds = None

    def __init__(
        self, stream_root: str, credentials: Credentials, frames: UserFrames, clock: VenueClock, gate: LoginGate
    ) -> None:
        self.gate = gate
        self._url, self._credentials, self._frames, self._clock = stream_root, credentials, frames, clock

    async def sessions(self) -> Sequence[BybitSession]:
        return (BybitSession(self._url + facts.PRIVATE_PATH, self._credentials, self._frames, self._clock),)

    async def keep_alive(self) -> None:
        """The pings do it."""
