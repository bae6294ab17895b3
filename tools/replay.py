"""Replays what a daemon did from its audit log and its journal alone, and compares the two.

The chain of the log is verified; positions, profit and loss, and the verdicts of the waves are rebuilt from its
records and compared with those of the journal: each trade, each position, each verdict. Reads only, the folder of a
real run, a dry run or a campaign; several are replayed one after another. A daemon that still runs writes the two one
after the other: what it did in this moment may be in one of them only.

Exit status: 0 both agree, 1 the chain is broken or something differs, 2 the replay could not run. What a daemon that
was killed could not write any more is counted as a gap, and is no difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Container, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import to_builtins

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec import Struct

from core.domain.money import plain
from core.domain.position import Position
from core.engine.retention import KEPT_SINCE_KEY
from core.errors import ConfigError, JournalUnreadable
from core.storage.history import History, reading
from core.storage.journal import FILE_NAME
from tools import data_folder
from tools.rebuild import Rebuild, Rebuilt, Trade
from tools.verify_audit import BROKEN, CLEAN, COULD_NOT_RUN, Result, check, records

SHOWN = 20


class Replay(Struct, frozen=True, kw_only=True):
    """One folder. `differences` contradict, `gaps` are explained by a run that was killed."""

    folder: str
    chain: Result
    rebuilt: Rebuild
    differences: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def status(self) -> int:
        return CLEAN if self.chain.clean and not self.differences else BROKEN


def replay(folder: Path) -> Replay:
    """Raises OSError, JournalUnreadable, and ValueError for a log that cannot be understood."""
    chain = check(folder)
    rebuilt = Rebuild()
    if chain.clean:  # what was altered proves nothing
        try:
            rebuilt.take(records(folder))
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(
                f"record {rebuilt.records} of the log does not say what its kind does: {error!r}"
            ) from error
    differences, gaps = list(rebuilt.differences), list(rebuilt.gaps)
    if chain.clean:
        with reading(folder / FILE_NAME) as history:
            apart = list(_compared(rebuilt, history))
        (gaps if rebuilt.unclean else differences).extend(text for text, lost in apart if lost)
        differences += [text for text, lost in apart if not lost]
    return Replay(folder=str(folder), chain=chain, rebuilt=rebuilt, differences=tuple(differences), gaps=tuple(gaps))


# what the journal says


def _compared(rebuilt: Rebuild, history: History) -> Iterator[tuple[str, bool]]:
    """Each difference, and whether a write that was lost would explain it."""
    yield from _trades(rebuilt, history)
    yield from _positions(rebuilt, history)
    yield from _waves(rebuilt, history)


def _only(key: object, known: Container[object], history: History) -> str | None:
    """Which of the two has it; None for what the journal may have let go of (JOURNAL_RETENTION_DAYS)."""
    if key in known:
        return "journal"
    return None if KEPT_SINCE_KEY in history.values() else "log"


def _trades(rebuilt: Rebuild, history: History) -> Iterator[tuple[str, bool]]:
    told = {Trade(str(fill.instrument), fill.trade_id): fill for fill in history.every_fill()}
    for trade in sorted(told.keys() ^ rebuilt.trades.keys()):
        if where := _only(trade, told, history):
            yield f"trade {trade.instrument} {trade.trade_id} is only in the {where}", True
    for trade in sorted(told.keys() & rebuilt.trades.keys()):
        fill, data = told[trade], rebuilt.trades[trade]
        ours = (fill.quantity, fill.price, fill.side.value)
        if ours != (Decimal(data["quantity"]), Decimal(data["price"]), data.get("side", fill.side.value)):
            yield f"trade {trade.instrument} {trade.trade_id} is another one in the journal", False


def _positions(rebuilt: Rebuild, history: History) -> Iterator[tuple[str, bool]]:
    told = {position.id: position for position in history.every_position()}
    for key in sorted(told.keys() ^ rebuilt.positions.keys()):
        if where := _only(key, told, history):
            yield f"position {key} is only in the {where}", True
    for key in sorted(told.keys() & rebuilt.positions.keys()):
        ours = rebuilt.positions[key]
        if wrong := ours.differs(_as_rebuilt(told[key])):
            what = f"position {key} ({ours.instrument} {ours.side}): {', '.join(wrong)} in the journal"
            yield what, True


def _as_rebuilt(position: Position) -> Rebuilt:
    return Rebuilt(
        quantity=position.quantity,
        entry_quantity=position.entry_quantity,
        entry_cost=position.entry_cost,
        realized=position.realized,
        fees=position.fees,
    )


def _waves(rebuilt: Rebuild, history: History) -> Iterator[tuple[str, bool]]:
    finished = {wave.wave_id: wave for wave in history.every_wave() if wave.finished_ms is not None}
    for key in sorted((finished.keys() - rebuilt.interrupted) ^ (rebuilt.waves.keys() - rebuilt.interrupted)):
        if where := _only(key, finished, history):
            yield f"the end of wave {key} is only in the {where}", True
    for wave_id in sorted(finished.keys() & rebuilt.waves.keys()):
        for signal in history.signals_of(wave_id):
            ours = rebuilt.verdicts.get((signal.source, signal.signal_id))
            if ours is None and "signals" in rebuilt.waves[wave_id]:  # earlier programs only counted them
                yield f"signal {signal.signal_id} of wave {wave_id} has no verdict in the log", True
            elif ours is not None and ours != signal.code:
                verdict = f"{ours or 'accepted'} in the log, {signal.code or 'accepted'} in the journal"
                yield f"signal {signal.signal_id} of wave {wave_id}: {verdict}", True


# telling


def _sentences(told: Replay) -> Iterator[str]:
    rebuilt = told.rebuilt
    yield f"{told.folder}: {told.chain.sentence()}"
    if not told.chain.clean:
        return
    open_ones = sum(1 for position in rebuilt.positions.values() if position.quantity)
    runs = f"{rebuilt.starts} runs" + (f", {rebuilt.unclean} of them after a kill" if rebuilt.unclean else "")
    refused = sum(1 for code in rebuilt.verdicts.values() if code)
    yield f"  {runs}; {len(rebuilt.trades)} trades, {len(rebuilt.positions)} positions, {open_ones} of them open"
    yield f"  {len(rebuilt.waves)} waves, {len(rebuilt.verdicts)} signals judged, {refused} of them refused"
    for (venue, asset), parts in rebuilt.results().items():
        sums = ", ".join(f"{name} {plain(round(amount, 8))}" for name, amount in sorted(parts.items()))
        total = plain(round(sum(parts.values(), Decimal(0)), 8))
        yield f"  {venue} {asset}: {sums}; together {total}"
    for (venue, asset), row in sorted(rebuilt.money.items()):
        yield f"  {venue} {asset}: {row['residual']} unexplained by the money ledger"
    yield from _listed("gap", told.gaps)
    yield from _listed("difference", told.differences)
    if not told.differences:
        yield "  log and journal agree"


def _listed(name: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield f"  {len(texts)} {name}{'s' if len(texts) > 1 else ''}:"
    for text in texts[:SHOWN]:
        yield f"    {text}"
    if len(texts) > SHOWN:
        yield f"    … and {len(texts) - SHOWN} more"


def _document(told: Replay) -> dict[str, Any]:
    rebuilt = told.rebuilt
    return {
        "folder": told.folder,
        "chain": to_builtins(told.chain),
        "runs": rebuilt.starts,
        "unclean_starts": rebuilt.unclean,
        "trades": len(rebuilt.trades),
        "waves": len(rebuilt.waves),
        "positions": [_row(position) for position in rebuilt.positions.values()],
        "verdicts": [{"source": s, "id": i, "code": code} for (s, i), code in rebuilt.verdicts.items()],
        "results": {
            f"{venue} {asset}": {name: plain(amount) for name, amount in parts.items()}
            for (venue, asset), parts in rebuilt.results().items()
        },
        "gaps": told.gaps,
        "differences": told.differences,
    }


def _row(position: Rebuilt) -> dict[str, str]:
    numbers = ("quantity", "entry_price", "realized", "fees")
    return {"id": position.id, "instrument": position.instrument, "side": position.side} | {
        name: plain(getattr(position, name)) for name in numbers
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_folder.add_arguments(parser, several=True)
    parser.add_argument("--json", action="store_true", help="print one JSON line for each folder")
    options = parser.parse_args(arguments)
    try:
        folders = data_folder.folders_of(options)
    except ConfigError as error:
        print(f"The configuration cannot be used; name the folder with --data-dir:\n{error}", file=sys.stderr)
        return COULD_NOT_RUN
    worst = CLEAN
    for folder in folders:
        try:
            told = replay(folder)
        except (OSError, JournalUnreadable, ValueError) as error:
            print(json.dumps({"folder": str(folder), "error": str(error)}) if options.json else f"{folder}: {error}")
            worst = COULD_NOT_RUN
            continue
        print(json.dumps(_document(told)) if options.json else "\n".join(_sentences(told)))
        worst = max(worst, told.status)
    return worst


if __name__ == "__main__":
    sys.exit(main())
