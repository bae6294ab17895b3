"""Which of its three position indexes an order or a stop belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.ids import InstrumentId
from core.domain.reports import PositionSide
from core.domain.signal import Side
from core.venues.bybit.facts import NO_HEDGE_COIN

ONE_WAY, LONG, SHORT = 0, 1, 2
SIDES = {ONE_WAY: PositionSide.BOTH, LONG: PositionSide.LONG, SHORT: PositionSide.SHORT}


class PositionModes:
    """The account's position mode, and contracts that were set otherwise. Contracts in USDC are always one-way."""

    def __init__(self) -> None:
        self.hedge = self.known = False
        self._others: dict[InstrumentId, bool] = {}

    def learn(self, *, hedge: bool, others: Mapping[InstrumentId, bool] | None = None) -> None:
        """What the venue says now. `others`: contracts in another mode than the account's."""
        self.hedge, self.known = hedge, True
        if others is not None:
            self._others = dict(others)

    def differs(self, instrument: InstrumentId, *, hedge: bool) -> None:
        """This one contract is in that mode."""
        self._others[instrument] = hedge

    def hedge_of(self, instrument: InstrumentId) -> bool:
        if instrument.symbol.endswith(f":{NO_HEDGE_COIN}"):
            return False
        return self._others.get(instrument, self.hedge)

    def index(self, instrument: InstrumentId, held: Side) -> int:
        """Of the position in direction `held`: 0 one-way, 1 long, 2 short."""
        if not self.hedge_of(instrument):
            return ONE_WAY
        return LONG if held is Side.BUY else SHORT

    def side_of_trade(self, instrument: InstrumentId, side: Side, *, closing: bool) -> PositionSide:
        """The position a trade belongs to; the venue's trades do not name it."""
        if not self.hedge_of(instrument):
            return PositionSide.BOTH
        return PositionSide.LONG if (side is Side.BUY) is not closing else PositionSide.SHORT
