"""The questions of pre-flight, one function each (TEL-09). Pure: a reading and the rules in, grades and words out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from core.domain.ids import VenueName
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, plain
from core.domain.sizing import size
from core.domain.verdict import Denied
from core.engine.ports import MarginMode, PriceTriple
from core.lifecycle.preflight import Grade, PreflightRules, Question, Reading

CLOCK_WARN_MS: Final = 1_000
CLOCK_OFF_MS: Final = 600_000
"""Ten minutes: signals expire and days end by this host's clock, whatever is corrected towards the venue."""
PRICES_APART_PERCENT: Final = Decimal(5)
EXAMPLES: Final = 3

Answers = Iterator[tuple[Grade, str]]


def clock(reading: Reading, _: PreflightRules, venue: VenueName) -> Answers:
    """Requests are stamped with the venue's clock; this host's own is used for everything else."""
    off = reading.clock_offset_ms
    said = f"this host's clock is {abs(off)} ms {'behind' if off > 0 else 'ahead of'} {venue}'s"
    remedy = "; synchronise it (`timedatectl set-ntp true`)"
    if abs(off) >= CLOCK_OFF_MS:
        yield Grade.OFF, said + remedy
    elif abs(off) >= CLOCK_WARN_MS:
        yield Grade.WARN, f"{said}, requests are corrected for it{remedy}"
    else:
        yield Grade.OK, said


def rights(reading: Reading, rules: PreflightRules, venue: VenueName) -> Answers:
    """What the key may do, and from where."""
    if not reading.account.can_trade:
        yield Grade.OFF, "the API key may not trade; enable futures trading for it"
    told = reading.rights
    if told is None:
        if "rights" in reading.unread:
            yield Grade.WARN, f"the rights of the key could not be read: {reading.unread['rights']}"
        else:
            yield Grade.OK, "this environment does not tell what the key may do"
        return
    if told.withdraw:
        said = "the API key may withdraw; take that right away from it, nothing here needs it"
        allowed = rules.withdrawal_allowed
        yield (Grade.WARN, f"{said} (used all the same: ALLOW_WITHDRAWAL_KEYS=true)") if allowed else (Grade.OFF, said)
    if not told.trade and reading.account.can_trade:
        yield Grade.OFF, "the API key may not trade futures; enable futures trading for it"
    if not told.bound_to_addresses and venue not in rules.local:
        yield Grade.WARN, "the API key works from any address; restrict it to this host's address"
    if told.trade and not told.withdraw:
        yield Grade.OK, "the key may trade and may not withdraw"


def position_mode(reading: Reading, _: PreflightRules, __: VenueName) -> Answers:
    mode = "hedge (long and short side by side)" if reading.account.hedge_mode else "one-way"
    yield Grade.OK, f"position mode {mode}; it is read, never changed"


def asset_mode(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    """Multi-assets margin makes one balance out of several coins: no limit of ours would mean what it says."""
    if not reading.account.multi_assets:
        yield Grade.OK, "single-asset margin"
        return
    said = "multi-assets mode is on; switch the account to single-asset mode (futures preferences, asset mode)"
    if rules.margin is MarginMode.ISOLATED:
        said += "; MARGIN_MODE=isolated is refused while it is on"
    yield Grade.OFF, said


def margin_mode(reading: Reading, rules: PreflightRules, venue: VenueName) -> Answers:
    told = [reading.account.margin.get(i.id.symbol) for i in rules.wanted(reading.instruments) if i.tradable]
    counts = {mode: told.count(mode) for mode in MarginMode}
    said = ", ".join(f"{count} {mode}" for mode, count in counts.items() if count) or "not told"
    if rules.margin is None:
        yield Grade.OK, f"margin mode as the account has it: {said} (MARGIN_MODE=keep)"
        return
    other = len(told) - counts[rules.margin]
    if other and reading.margin_of_account:
        yield (
            Grade.WARN,
            (
                f"margin mode {said}, and MARGIN_MODE={rules.margin}: it is a setting of the whole account and not "
                f"changed from here, so all its signals will be denied; change it at {venue}, or set MARGIN_MODE=keep"
            ),
        )
    else:
        yield Grade.OK, f"margin mode {said}; {other} will be {rules.margin} (MARGIN_MODE) before they are traded"


def leverage(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    wanted = _tradable(reading, rules)
    short = [i for i in wanted if i.brackets and i.max_leverage < rules.leverage]
    if not short:
        yield Grade.OK, f"every symbol allows LEVERAGE={rules.leverage}"
        return
    named = ", ".join(f"{i.venue_symbol} at most {i.max_leverage}" for i in short[:EXAMPLES])
    yield (
        Grade.WARN,
        (
            f"{len(short)} of {len(wanted)} symbols do not allow LEVERAGE={rules.leverage} ({named}): "
            "their signals will be denied; lower LEVERAGE or put them on STOPLIST_SYMBOLS"
        ),
    )


def symbols(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    """VAL-21: only what the venue says is trading is traded."""
    quotes = ", ".join(sorted(rules.quotes))
    wanted = rules.wanted(reading.instruments)
    trading = [i for i in wanted if i.tradable]
    if not reading.instruments:
        yield Grade.LATE, "it lists nothing at all, and an empty answer proves nothing; it is asked again"
    elif not wanted:
        yield Grade.OFF, f"it lists no linear perpetual in {quotes} (QUOTE_COIN)"
    elif not trading:
        yield Grade.OFF, f"none of its {len(wanted)} linear perpetuals in {quotes} is trading now"
    else:
        yield Grade.OK, f"{len(trading)} of {len(wanted)} linear perpetuals in {quotes} are trading"


def stop_orders(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    """A position without a stop may not be: what takes no stop orders is not traded."""
    wanted = rules.wanted(reading.instruments)
    without = [i for i in wanted if not i.stops]
    if wanted and len(without) == len(wanted):
        yield Grade.OFF, "no symbol takes stop orders now, and nothing is opened without one; ask the venue"
    elif without:
        yield Grade.WARN, f"{len(without)} symbols take no stop orders and are not traded: {_names(without)}"
    else:
        yield Grade.OK, "every symbol takes stop orders"


def prices(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    """Three prices that are made in different ways agree, or at least one of them is nonsense."""
    if reading.prices is None:
        yield Grade.WARN, f"prices could not be read: {reading.unread.get('prices', 'not told')}"
        return
    wanted = _tradable(reading, rules)
    told = {i: triple for i in wanted if (triple := reading.prices.get(i.id.symbol)) is not None}
    odd = {i: spread for i, triple in told.items() if (spread := _spread(triple)) > PRICES_APART_PERCENT}
    if wanted and not told:
        yield Grade.WARN, "it tells no price of any symbol"
        return
    if not odd:
        yield Grade.OK, f"mark, index and last price agree within {PRICES_APART_PERCENT} % ({len(told)} symbols)"
        return
    named = ", ".join(f"{i.venue_symbol} {_shown(reading.prices[i.id.symbol])}" for i in list(odd)[:EXAMPLES])
    said = f"mark, index and last price are more than {PRICES_APART_PERCENT} % apart: {named}"
    if 2 * len(odd) > len(told):
        yield Grade.OFF, f"{len(odd)} of {len(told)} symbols: {said}; this venue's prices cannot be trusted now"
    else:
        yield Grade.WARN, f"{len(odd)} of {len(told)} symbols: {said}; look at them before trading"


def sizes(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    """How many symbols an entry of POSITION_SIZE_USD is too small for."""
    if not reading.prices:
        return
    denied: dict[Instrument, Denied] = {}
    priced = [i for i in _tradable(reading, rules) if i.id.symbol in reading.prices]
    for instrument in priced:
        sized = size(instrument, reading.prices[instrument.id.symbol].mark, rules.sizing, instrument.market_lot)
        if isinstance(sized, Denied):
            denied[instrument] = sized
    setting = f"POSITION_SIZE_USD={plain(rules.sizing.target)}"
    if not denied:
        yield Grade.OK, f"{setting} can be traded in every symbol"
        return
    needs = ", ".join(f"{i.venue_symbol} needs {_needs(one.values)}" for i, one in list(denied.items())[:EXAMPLES])
    yield Grade.WARN, f"{len(denied)} of {len(priced)} symbols cannot be traded with {setting}: {needs}"


def balance(reading: Reading, rules: PreflightRules, __: VenueName) -> Answers:
    for quote in sorted(rules.quotes):
        wallet = next((b.wallet for b in reading.balances if b.asset == quote), Decimal(0))
        said = f"balance {plain(wallet)} {quote}"
        if wallet >= rules.least_balance:
            yield Grade.OK, said
        else:
            least = f"MINIMUM_ACTIVE_BALANCE_USD={plain(rules.least_balance)}"
            yield Grade.WARN, f"{said}, below {least}: entries will be denied"


QUESTIONS: Final[Mapping[str, Question]] = {
    "clock": clock,
    "rights": rights,
    "position mode": position_mode,
    "asset mode": asset_mode,
    "margin mode": margin_mode,
    "symbols": symbols,
    "stop orders": stop_orders,
    "prices": prices,
    "sizes": sizes,
    "leverage": leverage,
    "balance": balance,
}


def _tradable(reading: Reading, rules: PreflightRules) -> list[Instrument]:
    return [i for i in rules.wanted(reading.instruments) if i.tradable]


def _names(instruments: Sequence[Instrument]) -> str:
    listed = ", ".join(i.venue_symbol for i in instruments[:EXAMPLES])
    return listed + (", …" if len(instruments) > EXAMPLES else "")


def _spread(triple: PriceTriple) -> Decimal:
    """Percent between the lowest and the highest; a price that cannot be is as far off as it gets."""
    low, high = min(triple.mark, triple.index, triple.last), max(triple.mark, triple.index, triple.last)
    return Decimal("Infinity") if low <= 0 else (high / low - 1) * HUNDRED


def _shown(triple: PriceTriple) -> str:
    return f"(mark {plain(triple.mark)}, index {plain(triple.index)}, last {plain(triple.last)})"


def _needs(values: Mapping[str, str]) -> str:
    told = values.get("smallest")
    return plain(round(Decimal(told), 2)) if told else "another size"
