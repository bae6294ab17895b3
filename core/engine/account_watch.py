"""AccountWatch: settings of the account that must not change under a running daemon, and the venue's own warnings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from core.domain.alerts import AlertKind
from core.domain.events import AssetModeChanged, Event, MarginCalled, OwnIdUnknown, ReducedElsewhere
from core.domain.ids import VenueName
from core.domain.money import plain
from core.domain.order import OrderIntent
from core.domain.reports import Origin
from core.engine.leverage import LeverageKeeper
from core.engine.ports import About, AccountSettings, KeyRights, Level, Notifier, Outcome, Rejected, VenueClient
from core.engine.risk_guard import RiskGuard
from core.errors import VenueError

log = structlog.get_logger(__name__)

BY = "account-watch"
"""Who speaks, when a venue is switched off here."""
LOOK_SECONDS = 60.0
"""Two requests of weight 5 each."""
AGAIN_SECONDS = 5.0
"""Between two looks that refusals ask for."""
_ASKS = (About.OTHER, About.ACCOUNT_RESTRICTED)
_ANOTHER = "another instance, or a tool while no daemon ran, traded here, or the journal is an old one"


class AccountWatch:
    """Entries on a venue stop while its account is not as it was at the start; stops and closes go on (CFG-07)."""

    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        risk: RiskGuard,
        leverage: LeverageKeeper,
        notifier: Notifier,
        withdrawal_allowed: bool = False,
    ) -> None:
        """`withdrawal_allowed` as ALLOW_WITHDRAWAL_KEYS says."""
        self._withdrawal_allowed = withdrawal_allowed
        self._clients = clients
        self._risk = risk
        self._leverage = leverage
        self._notifier = notifier
        self.rights: dict[VenueName, KeyRights] = {}
        """What each key may do, where the venue told; read at the start, or as soon as it can be read."""
        self._hedge_mode: dict[VenueName, bool] = {}
        self._strangers: set[VenueName] = set()
        self._asked: set[VenueName] = set()
        self._wake = asyncio.Event()

    def learn(self, venue: VenueName, account: AccountSettings) -> None:
        """The account as pre-flight found it."""
        self._hedge_mode[venue] = account.hedge_mode
        self._leverage.learn(venue, account.leverage, account.margin)

    def learn_rights(self, venue: VenueName, rights: KeyRights | None) -> None:
        """What the venue told of the key at the start. What it did not tell is asked again soon."""
        if rights is not None:
            self.rights[venue] = rights
        else:
            self._asked.add(venue)
            self._wake.set()

    async def run(self) -> None:
        """Look at every venue now and then, and at one that refuses an entry soon: what no event tells of must not wait
        for the next connection."""
        loop = asyncio.get_running_loop()
        round_at = loop.time() + LOOK_SECONDS
        while True:
            venues: list[VenueName] = []
            try:
                async with asyncio.timeout_at(round_at):
                    await self._wake.wait()
                venues = [venue for venue in self._clients if venue in self._asked]
            except TimeoutError:
                venues, round_at = list(self._clients), loop.time() + LOOK_SECONDS
            self._asked.clear()
            self._wake.clear()
            for venue in venues:
                try:
                    await self.look(venue)
                except VenueError as error:
                    log.warning("account.unread", venue=venue, error=str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    def on_outcome(self, intent: OrderIntent, outcome: Outcome) -> None:
        """OrderManager.on_outcome. A refusal that fits no case of ours is how a venue answers an order made for another
        position mode, and a restricted account's may be a dead key's: the account is read at once (CFG-07, SEC-03)."""
        if isinstance(outcome, Rejected) and outcome.about in _ASKS and not intent.reduce_only:
            self._asked.add(intent.instrument.venue)
            self._wake.set()

    async def look(self, venue: VenueName) -> None:
        """Read the settings again, after every connection too: position mode has no stream event. Raises VenueError."""
        account = await self._clients[venue].account_settings()
        await self._read_rights(venue)
        self._leverage.learn(venue, account.leverage, account.margin)
        known = self._hedge_mode.setdefault(venue, account.hedge_mode)
        if account.multi_assets:
            self._off(venue, "multi-assets mode is on; switch the account back to single-asset mode")
        elif not account.can_trade:
            self._off(venue, "the API key may not trade any more")
        elif venue in self.rights and self.rights[venue].withdraw and not self._withdrawal_allowed:
            self._off(venue, "the API key may withdraw; take that right away from it and restart the daemon")
        elif account.hedge_mode != known:
            was, now = ("hedge" if known else "one-way"), ("hedge" if account.hedge_mode else "one-way")
            self._off(venue, f"the position mode was changed from {was} to {now}; restart the daemon to trade with it")
        elif self._risk.venue_off_reason(venue, BY) is not None:
            self._risk.set_venue(venue, None, by=BY)
            self._notifier.notify(
                Level.INFO, f"{venue}: the account is as it was; entries go on", kind=AlertKind.ACCOUNT
            )

    async def _read_rights(self, venue: VenueName) -> None:
        """Where they could not be read at the start, e.g. for a limit: a key that may withdraw must not pass so."""
        if venue in self.rights:
            return
        try:
            rights = await self._clients[venue].key_rights()
        except VenueError as error:
            log.warning("account.rights_unread", venue=venue, error=str(error))
            return
        if rights is not None:
            self.rights[venue] = rights

    def on_events(self, events: Iterable[Event]) -> None:
        """Must-consumer."""
        for event in events:
            if isinstance(event, AssetModeChanged) and event.multi_assets:
                self._off(event.venue, "multi-assets mode was switched on; switch the account back")
            elif isinstance(event, ReducedElsewhere):
                self._reduced(event)
            elif isinstance(event, OwnIdUnknown):
                self._unknown_own(event)
            elif isinstance(event, MarginCalled):
                self._notifier.notify(Level.CRITICAL, f"{event.instrument}: {event.what}", kind=AlertKind.LIQUIDATION)

    def _reduced(self, event: ReducedElsewhere) -> None:
        what = f"{plain(event.quantity)} at {plain(event.price)}, {plain(event.position.quantity)} left"
        if event.origin is Origin.ORDER:
            self._notifier.notify(
                Level.WARNING, f"{event.position.key}: closed by another order: {what}", kind=AlertKind.EXTERNAL
            )
            return
        self._notifier.notify(
            Level.CRITICAL, f"{event.position.key}: {event.origin} by the venue: {what}", kind=AlertKind.LIQUIDATION
        )
        if event.origin is Origin.LIQUIDATION:
            why = f"{event.instrument} was liquidated; look at it, then resume"
            self._risk.restrict(why, "account-watch", event.instrument.venue)

    def _unknown_own(self, event: OwnIdUnknown) -> None:
        """Said once per venue and start; every one of them is in the log."""
        venue = event.instrument.venue
        self._risk.restrict(f"it has orders of ours that this journal lacks: {_ANOTHER}", "account-watch", venue)
        if venue not in self._strangers:
            self._strangers.add(venue)
            what = f"order {event.client_order_id} is ours by its id and not in this journal: {_ANOTHER}"
            self._notifier.notify(
                Level.CRITICAL, f"{event.instrument}: {what}; no entries until you resume", kind=AlertKind.UNKNOWN_ORDER
            )

    def _off(self, venue: VenueName, why: str) -> None:
        if self._risk.venue_off_reason(venue, BY) != why:
            self._risk.set_venue(venue, why, by=BY)
            log.error("account.changed", venue=venue, why=why)
            self._notifier.notify(Level.CRITICAL, f"{venue}: no entries, {why}", kind=AlertKind.ACCOUNT)
