"""VenuePauses: entries of a venue wait after errors, refusals for margin and restrictions, and after a shortage of
balance until it is back. One alert each when it begins, one notice when it is over; all of it survives a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.breaker import Breaker, Pause, PauseCause
from core.domain.gate import Gate
from core.domain.ids import Asset, ClientOrderId, VenueName
from core.domain.money import plain
from core.domain.order import OrderIntent
from core.engine.ports import About, Accepted, Level, Notifier, Outcome, Rejected, Unknown
from core.engine.records import Journal, StateRecord
from core.engine.risk_record import UNREADABLE

log = structlog.get_logger(__name__)

_KEY = "risk_pauses"
_CAUSES = {
    About.UNREACHED: PauseCause.ERRORS,
    About.INSUFFICIENT_MARGIN: PauseCause.MARGIN,
    About.ACCOUNT_RESTRICTED: PauseCause.RESTRICTED,
}
_TITLES = {
    PauseCause.ERRORS: "it failed several entries in a row",
    PauseCause.MARGIN: "it has no margin for another entry",
    PauseCause.RESTRICTED: "the account may only reduce there",
}


class Shortage(Struct, frozen=True, kw_only=True):
    """Entries in one quote coin wait until `needed` of it is free again."""

    needed: Decimal
    since_ms: int


class VenuePauses:
    def __init__(self, *, errors_limit: int, journal: Journal, clock: Clock, notifier: Notifier) -> None:
        """`errors_limit`: so many entries in a row that met a venue error pause that venue; 0 = never."""
        self._untroubled = Breaker(errors_limit=errors_limit)
        self._journal = journal
        self._clock = clock
        self._notifier = notifier
        self._breakers: dict[VenueName, Breaker] = {}
        self.shortages: dict[tuple[VenueName, Asset], Shortage] = {}

    def all(self) -> dict[VenueName, Pause]:
        """Venues whose entries pause."""
        return {venue: b.pause for venue, b in self._breakers.items() if b.pause is not None}

    def _of(self, venue: VenueName) -> Breaker:
        return self._breakers.get(venue, self._untroubled)

    def gate(self, venue: VenueName) -> Gate:
        return self._of(venue).gate(self._clock.now_ms())

    def approved(self, entry: OrderIntent) -> None:
        """This entry goes out; it is the trial of a pause whose wait is over."""
        venue = entry.instrument.venue
        breaker = self._of(venue)
        if breaker.pause is not None:
            log.info("risk.venue_tried_again", venue=venue, client_order_id=entry.client_order_id)
            self._put(venue, breaker.tried(entry.client_order_id, self._clock.now_ms()))

    def on_outcome(self, intent: OrderIntent, outcome: Outcome) -> None:
        """How a venue answered (OrderManager.on_outcome). Only entries count: protection is never paused."""
        if intent.reduce_only:
            return
        venue = intent.instrument.venue
        self._put(venue, self._judged(self._of(venue), intent.client_order_id, outcome))

    def _judged(self, breaker: Breaker, entry: ClientOrderId, outcome: Outcome) -> Breaker:
        now = self._clock.now_ms()
        match outcome:
            case Accepted():
                return breaker.succeeded(entry)
            case Unknown(cause=cause):
                return breaker.failed(PauseCause.ERRORS, cause, entry, now)
            case Rejected(about=about, detail=detail) if about in _CAUSES:
                return breaker.failed(_CAUSES[about], f"{outcome.code} {detail}".strip(), entry, now)
            case Rejected():
                return breaker.judged(entry)

    # balance

    def short_of(self, venue: VenueName, asset: Asset, free: Decimal | None) -> Decimal | None:
        """What entries in this coin wait for; looks first whether it is there again (RSK-03)."""
        shortage = self.shortages.get((venue, asset))
        if shortage is None:
            return None
        if free is None or free < shortage.needed:
            return shortage.needed
        del self.shortages[venue, asset]
        log.info("risk.balance_back", venue=venue, asset=asset, free=plain(free))
        self._notifier.notify(
            Level.INFO,
            f"{venue}: {plain(round(free, 2))} {asset} are free again; entries go on",
            kind=AlertKind.LOW_BALANCE,
        )
        self._save()
        return None

    def fell_short(self, venue: VenueName, asset: Asset, needed: Decimal, free: Decimal) -> None:
        """An entry was refused for balance: one alert, then silence until it is back (RSK-01)."""
        self.shortages[venue, asset] = Shortage(needed=needed, since_ms=self._clock.now_ms())
        what = f"{plain(round(free, 2))} {asset} free, {plain(round(needed, 2))} needed (with the reserve)"
        log.warning("risk.balance_too_low", venue=venue, asset=asset, free=plain(free), needed=plain(needed))
        self._notifier.notify(
            Level.CRITICAL,
            f"{venue}: balance too low, {what}; entries in {asset} wait until it is back",
            kind=AlertKind.LOW_BALANCE,
        )
        self._save()

    # people and restarts

    def forget(self, venue: VenueName | None) -> None:
        """Somebody resumed: the next entry is simply tried. A shortage that is still there is found again."""
        for name in [venue] if venue is not None else list(self._breakers):
            self._breakers.pop(name, None)
        self.shortages = {
            key: kept for key, kept in self.shortages.items() if venue is not None and key[0] is not venue
        }
        self._save()

    def recall(self, values: Mapping[str, str]) -> None:
        if (text := values.get(_KEY)) is None:
            return
        try:
            told: dict[str, Any] = json.loads(text)
            self._breakers = {VenueName(name): self._read(row) for name, row in told["venues"].items()}
            self.shortages = {
                (VenueName(venue), Asset(asset)): Shortage(needed=Decimal(needed), since_ms=since)
                for venue, asset, needed, since in told["shortages"]
            }
        except UNREADABLE as error:
            log.error("risk.record_unreadable", error=repr(error))  # noqa: TRY400 - the sentence is the news
            self._notifier.notify(
                Level.CRITICAL, "the journal's pauses of venues cannot be read: they are over", kind=AlertKind.JOURNAL
            )

    def _read(self, row: Mapping[str, Any]) -> Breaker:
        """An entry that was the trial has its answer from reconciliation by now; the next one tries."""
        breaker = replace(self._untroubled, errors=int(row["errors"]))
        if row["pause"] is None:
            return breaker
        cause, detail, since, wait, retry = row["pause"]
        pause = Pause(cause=PauseCause(cause), detail=detail, since_ms=since, wait_ms=wait, retry_at_ms=retry)
        return replace(breaker, pause=pause)

    def _put(self, venue: VenueName, breaker: Breaker) -> None:
        before = self._of(venue)
        if breaker == before:
            return
        self._breakers[venue] = breaker
        if breaker.pause is None and before.pause is not None:
            log.info("risk.venue_resumed", venue=venue, cause=before.pause.cause.value)
            self._notifier.notify(Level.INFO, f"{venue}: took an entry again; entries go on", kind=AlertKind.VENUE)
        elif breaker.pause is not None and before.pause is None:
            self._say_paused(venue, breaker.pause)
        self._save()

    def _say_paused(self, venue: VenueName, pause: Pause) -> None:
        log.error(
            "risk.venue_paused", venue=venue, cause=pause.cause.value, why=pause.detail, wait_s=pause.wait_ms // 1000
        )
        text = f"{venue}: no entries, {_TITLES[pause.cause]} ({pause.detail}); tried again with growing waits"
        self._notifier.notify(Level.CRITICAL, f"{text}; stops and closes go on", kind=AlertKind.VENUE)

    def _save(self) -> None:
        value = json.dumps(
            {
                "venues": {name.value: _row(breaker) for name, breaker in self._breakers.items()},
                "shortages": [
                    [venue.value, asset, plain(s.needed), s.since_ms] for (venue, asset), s in self.shortages.items()
                ],
            }
        )
        self._journal.append_nowait([StateRecord(key=_KEY, value=value, time_ms=self._clock.now_ms())])


def _row(breaker: Breaker) -> dict[str, Any]:
    pause = breaker.pause
    if pause is None:
        return {"errors": breaker.errors, "pause": None}
    row = [pause.cause.value, pause.detail, pause.since_ms, pause.wait_ms, pause.retry_at_ms]
    return {"errors": breaker.errors, "pause": row}
