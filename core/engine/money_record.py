"""A venue's money ledger as JSON text in the journal, and back."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from core.domain.ids import Asset, Symbol, TradeId, VenueName
from core.domain.ledger import Cause, Foreign, IncomeKind, MoneyLedger, TradeKey, WalletAccount
from core.domain.money import plain

KEY = "money"
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)
"""What a text that was not written here may raise."""


def key_of(venue: VenueName) -> str:
    """Its name among the journal's values."""
    return f"{KEY}/{venue.value}"


def encoded(ledger: MoneyLedger) -> str:
    return json.dumps(
        {
            "since_ms": ledger.since_ms,
            "read_ms": ledger.read_ms,
            "accounts": {asset: _account(account) for asset, account in sorted(ledger.accounts.items())},
            "counted": dict(sorted(ledger.counted.items())),
            "ours": [[*key, time_ms] for key, time_ms in sorted(ledger.ours.items())],
            "by_word": sorted(ledger.by_word),
            "elsewhere": [
                [*key, [[row.asset, row.kind.value, plain(row.amount), row.venue_time_ms] for row in rows]]
                for key, rows in sorted(ledger.elsewhere.items())
            ],
            "settled": {symbol: plain(amount) for symbol, amount in sorted(ledger.settled.items())},
            "mixed": dict(sorted(ledger.mixed.items())),
        }
    )


def decoded(venue: VenueName, text: str) -> MoneyLedger:
    """Raises one of `UNREADABLE` for a text that `encoded` did not make."""
    told: dict[str, Any] = json.loads(text)
    return MoneyLedger(
        venue=venue,
        since_ms=int(told["since_ms"]),
        read_ms=int(told["read_ms"]),
        accounts={Asset(asset): _account_of(row) for asset, row in told["accounts"].items()},
        counted={str(key): int(time_ms) for key, time_ms in told["counted"].items()},
        ours={_key(symbol, trade_id): int(time_ms) for symbol, trade_id, time_ms in told["ours"]},
        by_word=frozenset(_key(symbol, trade_id) for symbol, trade_id in told["by_word"]),
        elsewhere={
            _key(symbol, trade_id): tuple(
                Foreign(Asset(asset), IncomeKind(kind), Decimal(amount), int(at)) for asset, kind, amount, at in rows
            )
            for symbol, trade_id, rows in told["elsewhere"]
        },
        settled={Symbol(symbol): Decimal(amount) for symbol, amount in told["settled"].items()},
        mixed={Symbol(symbol): int(time_ms) for symbol, time_ms in told["mixed"].items()},
    )


def _key(symbol: str, trade_id: str) -> TradeKey:
    return TradeKey(Symbol(symbol), TradeId(trade_id))


def _account(account: WalletAccount) -> dict[str, Any]:
    return {
        "opening": plain(account.opening),
        "wallet": plain(account.wallet),
        "explained": {cause.value: plain(amount) for cause, amount in sorted(account.explained.items())},
        "trades": account.trades,
    }


def _account_of(row: dict[str, Any]) -> WalletAccount:
    return WalletAccount(
        opening=Decimal(row["opening"]),
        wallet=Decimal(row["wallet"]),
        explained={Cause(cause): Decimal(amount) for cause, amount in row["explained"].items()},
        trades=int(row["trades"]),
    )
