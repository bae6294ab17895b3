"""A data registry over fakes."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from core.domain.ids import VenueName
from core.domain.liquidity import Activity
from core.domain.prices import AgeLimits, PriceKind
from core.engine.data_registry import DataRegistry
from core.engine.ports import MarketData, MarketReads
from core.engine.price_chain import ChainRules
from tests.builders import Number
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock


def chain_rules(kind: PriceKind = PriceKind.MARK, jump: Number = 5) -> ChainRules:
    return ChainRules(limits=AgeLimits(), widest_factor=3, jump_percent=Decimal(jump), kind=kind)


def a_registry(
    markets: Mapping[VenueName, MarketData] | None = None,
    reads: Mapping[VenueName, MarketReads] | None = None,
    *,
    rules: ChainRules | None = None,
    clock: VirtualClock | None = None,
    notifier: FakeNotifier | None = None,
    offset_ms: Callable[[VenueName], int] = lambda _: 0,
    serves: Callable[[VenueName], bool] = lambda _: True,
    reads_funding: bool = False,
) -> DataRegistry:
    return DataRegistry(
        markets={} if markets is None else markets,
        reads={} if reads is None else reads,
        rules=rules or chain_rules(),
        clock=clock or VirtualClock(),
        notifier=notifier or FakeNotifier(),
        offset_ms=offset_ms,
        serves=serves,
        activity=lambda _: Activity(),
        reads_funding=reads_funding,
    )
