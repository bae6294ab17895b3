"""What a venue says. Events are what we conclude from it. Reports never change after they were made."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.domain.ids import Asset, ClientOrderId, InstrumentId, TradeId, VenueName, VenueOrderId
from core.domain.money import Price, Quantity
from core.domain.order import OrderStatus
from core.domain.signal import Side


class Source(StrEnum):
    STREAM = "stream"
    REST = "rest"
    RECONCILIATION = "reconciliation"


class Origin(StrEnum):
    """Whose order a trade came from, as far as the venue marks it."""

    ORDER = "order"
    LIQUIDATION = "liquidation"
    ADL = "auto-deleveraging"
    SETTLEMENT = "settlement"


class PositionSide(StrEnum):
    """BOTH in one-way mode; LONG or SHORT in hedge mode."""

    BOTH = "both"
    LONG = "long"
    SHORT = "short"


class FillReport(Struct, frozen=True, kw_only=True):
    """One trade. Deduplicated by (venue, symbol, trade id); `fee` is positive when paid, in `fee_asset`."""

    instrument: InstrumentId
    client_order_id: ClientOrderId
    venue_order_id: VenueOrderId
    trade_id: TradeId
    side: Side
    quantity: Quantity
    price: Price
    fee: Decimal
    fee_asset: Asset
    realized: Decimal
    maker: bool
    venue_time_ms: int
    source: Source
    position_side: PositionSide = PositionSide.BOTH
    origin: Origin = Origin.ORDER


class OrderStatusReport(Struct, frozen=True, kw_only=True):
    """State of one order. `conditional`: the report speaks of the untriggered parent (Binance algo order), whose
    quantities are never fills; the child it becomes has the same client order id and reports with False.

    `filled` is cumulative, base units. `average_price` None when the venue did not say (Binance POST answers).
    """

    instrument: InstrumentId
    client_order_id: ClientOrderId
    venue_order_id: VenueOrderId | None
    status: OrderStatus
    side: Side
    quantity: Quantity
    filled: Quantity
    average_price: Price | None
    trigger_price: Price | None
    reduce_only: bool
    conditional: bool
    venue_time_ms: int
    source: Source
    detail: str = ""


class PositionReport(Struct, frozen=True, kw_only=True):
    """The venue's position, quantity signed (negative = short). Zero means flat, and only a report may say so.

    `unrealized` and `isolated_margin` in quote coin; None = this message does not say. `isolated` None likewise.
    `opened_ms` venue UTC: since when there has been one in this direction, None = the venue does not tell.
    """

    instrument: InstrumentId
    position_side: PositionSide
    quantity: Quantity
    entry_price: Price | None
    mark_price: Price | None
    venue_time_ms: int
    source: Source
    unrealized: Decimal | None = None
    isolated: bool | None = None
    isolated_margin: Decimal | None = None
    opened_ms: int | None = None


class WalletCause(StrEnum):
    """Why a wallet changed, in our words; a venue's word that is not known is OTHER, with the word in `cause_text`."""

    SNAPSHOT = "snapshot"
    """A reading, not a change."""
    TRADE = "trade"
    FUNDING = "funding"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    """Between our own wallets, or into and out of isolated margin."""
    ADJUSTMENT = "adjustment"
    INSURANCE = "insurance"
    SETTING = "setting"
    """The margin mode changed; no money moved."""
    OTHER = "other"


class BalanceReport(Struct, frozen=True, kw_only=True):
    """Absolute figures, overwrite never add. `available` None when this message does not carry it; `unusable`: it has
    to and does not, so what is free is unknown (VAL-07). `change` is what the venue says moved apart from profit and
    fees; None = it does not say."""

    venue: VenueName
    asset: Asset
    wallet: Decimal
    available: Decimal | None
    venue_time_ms: int
    source: Source
    cause: WalletCause = WalletCause.SNAPSHOT
    cause_text: str = ""
    change: Decimal | None = None
    unusable: bool = False


class LeverageReport(Struct, frozen=True, kw_only=True):
    """The leverage of one instrument was changed, by us or elsewhere."""

    instrument: InstrumentId
    leverage: int
    venue_time_ms: int


class AssetModeReport(Struct, frozen=True, kw_only=True):
    """Multi-assets margin was switched on or off."""

    venue: VenueName
    multi_assets: bool
    venue_time_ms: int


class MarginCallReport(Struct, frozen=True, kw_only=True):
    """The venue warns that a position is near liquidation. Guidance: it may come late or not at all."""

    instrument: InstrumentId
    position_side: PositionSide
    maintenance_margin: Decimal
    unrealized: Decimal
    venue_time_ms: int


Report = (
    FillReport
    | OrderStatusReport
    | PositionReport
    | BalanceReport
    | LeverageReport
    | AssetModeReport
    | MarginCallReport
)
