"""What people are told of: one word for each kind of message. How loud a kind is is a setting (`ALERT_NOISE`)."""

from __future__ import annotations

from enum import StrEnum


class AlertKind(StrEnum):
    """docs/OPERATIONS.md says of each what it means and what to do."""

    WAVE = "wave"
    ENTRY = "entry"
    FILL = "fill"
    CLOSE = "close"
    STOP_MOVED = "stop_moved"
    STOP_HIT = "stop_hit"
    REFUSALS = "refusals"
    STREAM = "stream"
    VENUE = "venue"
    UNPROTECTED = "unprotected"
    UNCLOSABLE = "unclosable"
    TRAILING = "trailing"
    LIQUIDATION = "liquidation"
    EXTERNAL = "external"
    UNKNOWN_ORDER = "unknown_order"
    DISCREPANCY = "discrepancy"
    LOSS_LIMIT = "loss_limit"
    LOW_BALANCE = "low_balance"
    ACCOUNT = "account"
    KEY = "key"
    SIGNALS = "signals"
    PRICES = "prices"
    RULES = "rules"
    DISK = "disk"
    JOURNAL = "journal"
    CLOCK = "clock"
    TASK = "task"
    LOG = "log"
    START = "start"
    STOP = "stop"
    STATE = "state"
    REPORT = "report"
    TELEGRAM = "telegram"


class Noise(StrEnum):
    """ON makes a sound, SILENT comes without one, OFF is in the log only."""

    ON = "on"
    SILENT = "silent"
    OFF = "off"


NEVER_OFF = frozenset({AlertKind.UNPROTECTED, AlertKind.UNCLOSABLE, AlertKind.LIQUIDATION, AlertKind.UNKNOWN_ORDER})
"""They are about money that nothing watches: nobody may switch them off by mistake."""
