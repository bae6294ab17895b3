"""The result of a replay as one page of HTML that needs nothing else: figures, charts, every trade, the assumptions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any

from core.domain.candle import Candle
from core.domain.money import plain
from tools.candle_replay.candles import day_and_time
from tools.candle_replay.document import Result, assumptions, by_number, changed_settings, exit_reasons, side_name
from tools.candle_replay.results import Trade

TEMPLATE = Path(__file__).with_name("report.html")
COLUMNS = 3_000
"""Of the price; more candles are drawn as the span of several."""
EQUITY_POINTS = 2_000


def page(result: Result) -> str:
    """The whole file; the same bytes for the same replay."""
    recording, request = result.recording, result.request
    begin, end = recording.candles[0].open_ms, recording.candles[-1].open_ms + recording.length_ms
    symbol = result.prepared.account.instrument.id.symbol
    period = f"{day_and_time(begin)} to {day_and_time(end)} UTC, {len(recording.candles):,} candles of"
    parts = {
        "title": escape(f"{request.strategy} on {symbol}, {request.venue}"),
        "period": escape(f"{period} {recording.timeframe}, from {request.data.name}"),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in _notes(result)),
        "figures": "".join(_figures(result)),
        "trades": _trades(result.trades),
        "exits": _exits(result),
        "signals": _signals(result),
        "assumptions": "".join(f"<li>{escape(line)}</li>" for line in assumptions(result)),
        "settings": _settings(changed_settings(result.prepared.settings)),
        "data": json.dumps(_data(result), separators=(",", ":")).replace("<", "\\u003c"),
    }
    text = TEMPLATE.read_text("utf-8")
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def _notes(result: Result) -> Iterator[str]:
    if result.recording.gaps:
        missing = sum(gap.missing for gap in result.recording.gaps)
        yield f"The data has {len(result.recording.gaps)} gaps, {missing} candles are missing."
    if result.outcome.halted:
        yield f"Trading was halted: {result.outcome.halted}"


def _figures(result: Result) -> Iterator[str]:
    told, quote = result.figures, result.prepared.account.instrument.quote
    yield _figure(f"{told.net:+,.2f} {quote}", f"result after costs ({told.return_percent:+.2f} %)", told.net)
    yield _figure(f"{told.drawdown_percent:.2f} %", f"deepest drawdown ({told.drawdown:,.2f})")
    yield _figure(f"{told.trades}", "trades closed")
    yield _figure(_maybe(told.win_rate, " %"), f"win rate ({told.wins} won)")
    yield _figure(_maybe(told.profit_factor), "profit factor")
    yield _figure(f"{told.exposure_percent:.1f} %", "of the time in a position")
    yield _figure(f"{-told.fees:,.2f}", "fees")
    yield _figure(f"{told.funding:+,.2f}", "funding")
    yield _figure(f"{-told.slippage:,.2f}", "slippage, in the prices")
    yield _figure(f"{told.final:,.2f}", f"at the end, of {told.balance:,.2f}")


def _figure(value: str, what: str, sign: Decimal | None = None) -> str:
    style = "" if not sign else ' class="gain"' if sign > 0 else ' class="loss"'
    return f"<div><b{style}>{escape(value)}</b><span>{escape(what)}</span></div>"


def _trades(trades: Sequence[Trade]) -> str:
    if not trades:
        return "<p>There was none.</p>"
    heads = (
        ("#", True), ("side", False), ("opened", False), ("minutes", True), ("entry", True), ("exit", True),
        ("quantity", True), ("net", True), ("%", True), ("fees", True), ("funding", True), ("closed by", False),
    )  # fmt: skip
    head = "".join(f'<th{_number(n)}><button type="button">{escape(name)}</button></th>' for name, n in heads)
    rows = "".join(_trade(index, trade) for index, trade in enumerate(trades))
    table = f'<table id="trades"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide tall">{table}</div>'


def _trade(index: int, trade: Trade) -> str:
    style = "gain" if trade.net > 0 else "loss"
    why = f"{trade.reason}: {trade.detail}" if trade.detail else trade.reason
    cells = (
        _cell(str(index + 1)),
        f"<td>{side_name(trade)}</td>",
        f"<td>{day_and_time(trade.opened_ms)}</td>",
        _cell(f"{(trade.closed_ms - trade.opened_ms) / 60_000:.1f}"),
        _cell(_price(trade.entry_price)),
        _cell(_price(trade.exit_price)),
        _cell(plain(trade.quantity)),
        _cell(f"{trade.net:+.2f}", style),
        _cell(f"{trade.percent:+.2f}", style),
        _cell(f"{trade.fees:.2f}"),
        _cell(f"{trade.funding:+.2f}"),
        f"<td>{escape(why)}</td>",
    )
    return f'<tr data-number="{index}" tabindex="0">{"".join(cells)}</tr>'


def _exits(result: Result) -> str:
    rows = [
        (row["reason"], row["count"], row["wins"], f"{Decimal(row['net']):+,.2f}")
        for row in exit_reasons(result.trades)
    ]
    return _small(("closed by", "positions", "won", "net"), rows)


def _signals(result: Result) -> str:
    recorder = result.outcome.recorder
    rows: list[tuple[object, ...]] = [("given", recorder.signals), ("entered", recorder.entered)]
    rows += [(f"refused: {reason}", count) for reason, count in by_number(recorder.refusals)]
    return _small(("signals", "number"), rows)


def _settings(changed: Mapping[str, str]) -> str:
    if not changed:
        return "<p>None.</p>"
    return "<p>" + "<br>".join(f"<code>{escape(f'{name}={value}')}</code>" for name, value in changed.items()) + "</p>"


def _small(heads: Sequence[str], rows: Sequence[tuple[object, ...]]) -> str:
    head = "".join(f"<th{_number(number > 0)}>{escape(name)}</th>" for number, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{_number(n > 0)}>{escape(str(cell))}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _data(result: Result) -> dict[str, Any]:
    """What the script draws. Times are seconds since the epoch."""
    recording = result.recording
    begin, end = recording.candles[0].open_ms, recording.candles[-1].open_ms + recording.length_ms
    return {
        "from": begin / 1000,
        "to": end / 1000,
        "bars": list(_columns(recording.candles)),
        "equity": _equity(result, begin, end),
        "trades": [_drawn(trade) for trade in result.trades],
    }


def _columns(candles: Sequence[Candle]) -> Iterator[tuple[float, float, float, float]]:
    """Time, lowest, highest and last price."""
    together = -(-len(candles) // COLUMNS)
    for start in range(0, len(candles), together):
        group = candles[start : start + together]
        low, high = min(candle.low for candle in group), max(candle.high for candle in group)
        yield group[0].open_ms / 1000, float(low), float(high), float(group[-1].close)


def _equity(result: Result, begin: int, end: int) -> list[tuple[float, float, float]]:
    """Time, equity, and the deepest drawdown (percent) up to there since the point before."""
    balance = float(result.request.balance)
    rows, peak, deepest = [(begin / 1000, balance, 0.0)], balance, 0.0
    points = result.outcome.equity
    together = -(-len(points) // EQUITY_POINTS) if points else 1
    for number, point in enumerate(points, start=1):
        deepest = max(deepest, (peak - point.lowest) / peak * 100)
        peak = max(peak, point.equity)
        if number % together == 0 or number == len(points):
            rows.append((point.time_ms / 1000, round(point.equity, 4), round(max(0.0, deepest), 5)))
            deepest = (peak - point.equity) / peak * 100
    rows.append((end / 1000, rows[-1][1], round(max(0.0, (peak - rows[-1][1]) / peak * 100), 5)))
    return rows


def _drawn(trade: Trade) -> dict[str, Any]:
    return {
        "side": side_name(trade),
        "opened": trade.opened_ms / 1000,
        "closed": trade.closed_ms / 1000,
        "entry": float(trade.entry_price),
        "exit": float(trade.exit_price),
        "net": float(round(trade.net, 4)),
        "reason": trade.reason,
        "stops": [(stop.time_ms / 1000, float(stop.price)) for stop in trade.stops],
    }


def _cell(text: str, style: str = "") -> str:
    """One with a number; its value is what it is sorted by."""
    return (
        f'<td class="n {style}" data-v="{text}">{text}</td>' if style else f'<td class="n" data-v="{text}">{text}</td>'
    )


def _number(yes: bool) -> str:  # noqa: FBT001 - a word of HTML
    return ' class="n"' if yes else ""


def _price(price: Decimal) -> str:
    return plain(round(price, 2 if price >= 100 else 6))


def _maybe(value: Decimal | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.2f}{unit}"
