"""How far from the entry a stop may lie: beyond noise, spread and fees, within a cap, and well before the liquidation
(STP-17). All distances in percent of the entry price; leverage moves the liquidation and nothing else."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.money import HUNDRED, ZERO, Price, plain
from core.domain.verdict import Reason


class StopRules(Struct, frozen=True, kw_only=True):
    """`default` is used where a signal asks for none. `noise` must be left when spread and `fee` (of one trade, paid
    twice) are taken off. `buffer` lies between the stop and the liquidation, maintenance margin included."""

    default: Decimal
    noise: Decimal
    fee: Decimal
    cap: Decimal
    buffer: Decimal
    leverage: int

    @property
    def farthest(self) -> Decimal:
        """What is left before the liquidation of an isolated position, which loses its margin after 100 / leverage."""
        return HUNDRED / self.leverage - self.buffer


def stop_gate(asked: Decimal | None, touch: tuple[Price, Price] | None, rules: StopRules) -> Gate:
    """`touch` is bid and ask; without them the spread has a gate of its own and counts as none here."""
    distance = rules.default if asked is None else asked
    bid, ask = touch or (Price(Decimal(1)), Price(Decimal(1)))
    spread = (ask - bid) / ((ask + bid) / 2) * HUNDRED
    least = rules.noise + max(ZERO, spread) + 2 * rules.fee
    shown, whose = f"{_percent(distance)}", "STOP_LOSS_PERCENT" if asked is None else "stop_loss_filter"
    figures = {whose: plain(distance), "LEVERAGE": str(rules.leverage), "TAKER_FEE_PERCENT": plain(rules.fee)}
    if distance < least:
        limit = f"MIN_STOP_DISTANCE_PERCENT={plain(rules.noise)} + spread + fees = {_percent(least)}"
        detail = f"a stop {shown} away would be hit by noise, spread and fees"
        return refused("stop_distance", Reason.STOP_TOO_NEAR, detail, value=shown, limit=limit, **figures)
    if distance > rules.cap:
        limit = f"MAX_STOP_DISTANCE_PERCENT={plain(rules.cap)}"
        detail = f"a stop {shown} away risks more than is allowed"
        return refused("stop_distance", Reason.STOP_TOO_FAR, detail, value=shown, limit=limit, **figures)
    limit = f"at most {_percent(rules.farthest)} at LEVERAGE={rules.leverage}"
    if distance > rules.farthest:
        detail = f"a stop {shown} away lies beyond the liquidation price or too near to it"
        figures["LIQUIDATION_BUFFER_PERCENT"] = plain(rules.buffer)
        return refused("stop_distance", Reason.STOP_BEYOND_LIQUIDATION, detail, value=shown, limit=limit, **figures)
    return passed("stop_distance", shown, f"{_percent(least)} to {_percent(min(rules.cap, rules.farthest))}")


def _percent(value: Decimal) -> str:
    return f"{plain(round(value, 3))} %"
