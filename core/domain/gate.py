"""One question asked of a signal and its answer. A verdict is a row of gates, so `why` can show every one of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from core.domain.verdict import Denied, Reason


class Gate(Struct, frozen=True, kw_only=True):
    """`value` is what was found, `limit` what was required with the setting that says so; both texts, "" = none.

    `denied` is None for a gate that lets the signal through. `note` is something worth knowing about a gate that does
    (a warning, a missing input that the settings let pass).
    """

    name: str
    value: str = ""
    limit: str = ""
    denied: Denied | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.denied is None


def passed(name: str, value: object = "", limit: str = "", *, note: str = "") -> Gate:
    """A gate that lets the signal through."""
    return Gate(name=name, value=str(value), limit=limit, note=note)


def refused(name: str, reason: Reason, detail: str, *, value: object = "", limit: str = "", **values: object) -> Gate:
    """A gate that stops the signal. `values` name the settings and figures compared (VAL-11)."""
    named = {key: str(item) for key, item in values.items()}
    return Gate(name=name, value=str(value), limit=limit, denied=Denied(reason=reason, detail=detail, values=named))


def first_refusal(gates: Iterable[Gate]) -> Denied | None:
    """What the first gate that stops the signal says."""
    return next((gate.denied for gate in gates if gate.denied is not None), None)
