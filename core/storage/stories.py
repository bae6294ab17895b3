"""Why a symbol was traded, or was not: the signal, what was asked of it, and what came of it, put together from the
journal. `tools/why.py` and Telegram tell the same."""

from __future__ import annotations

from collections.abc import Iterator

from core.domain.ids import VenueName
from core.domain.symbols import same_symbol
from core.engine.past import Account, PastWave, Story
from core.storage.history import History


def account_of(history: History, symbol: str, venue: VenueName | None, wave_id: str | None = None) -> Account:
    """Of `wave_id`, or of the last wave that had the symbol; it may be spelt in any way. `venue` None = any."""
    wave = history.wave(wave_id) if wave_id else history.last_wave_with(symbol, venue)
    if wave is None:
        at = "" if venue is None else f" at {venue}"
        missing = f"there is no wave {wave_id} in this journal" if wave_id else f"no wave had a signal for {symbol}{at}"
        return Account(wave=None, said=missing)
    stories = tuple(_stories(history, wave, symbol, venue))
    unread = tuple(one for one in wave.unusable if same_symbol(symbol, one["symbol"]))
    said = "" if stories or unread else _said(history, wave, symbol, venue)
    return Account(wave=wave, stories=stories, unread=unread, said=said)


def _said(history: History, wave: PastWave, symbol: str, venue: VenueName | None) -> str:
    inside = sorted({one.symbol for one in history.signals_of(wave.wave_id)})
    at = "" if venue is None else f" at {venue}"
    return f"wave {wave.wave_id} had no signal for {symbol}{at}; it had {', '.join(inside) or 'none'}"


def _stories(history: History, wave: PastWave, symbol: str, venue: VenueName | None) -> Iterator[Story]:
    for signal in history.signals_of(wave.wave_id):
        if not same_symbol(symbol, signal.symbol) or (venue is not None and signal.venue != venue):
            continue
        entry = history.entry_of(signal)
        if entry is None:
            yield Story(signal=signal, orders=(), position=None)
            continue
        position_id = entry.order.intent.position_id
        others = tuple(history.orders_of(position_id))
        yield Story(signal=signal, orders=others or (entry,), position=history.position(position_id))
