"""What follows when a vital task failed (DESIGN §2): trading halts, protection stays standing, the venues are read."""

from __future__ import annotations

from core.assembly import Engine


def halt(engine: Engine, name: str, why: str) -> None:
    """Nothing is entered until somebody has looked; stops, their replacements and closes go on."""
    engine.risk.halt(f"the task {name} failed: {why}", told=True)


def mend(engine: Engine) -> None:
    """Take up what a failed order, resolver or guardian task has left: every undecided order is asked for, every
    position is looked at (also one with its stop: a move of it may be waited for), every venue is read."""
    for order in engine.orders.state.all_live_orders():
        if order.undecided:
            engine.orders.resolve(order, "the task that followed it failed")
    for position in engine.orders.state.positions():
        if engine.protection.confirmed(position.key):
            engine.protection.guard(position.key)
    for venue in engine.clients:
        engine.reconciler.ask(venue)
