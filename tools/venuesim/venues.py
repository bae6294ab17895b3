"""The table of venues, by the name on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from tools.venuesim.wire import Venue

MODULES: Mapping[str, str] = {
    "binance": "tools.venuesim.binance.facade",
    "bybit": "tools.venuesim.bybit.facade",
    "okx": "tools.venuesim.okx.facade",
}


class VenueMissing(LookupError):
    """The simulator does not speak this venue's protocol."""


def load(name: str) -> Venue:
    """The venue's row. Raises VenueMissing when its façade does not exist."""
    module = MODULES.get(name)
    if module is None:
        raise VenueMissing(f"unknown venue {name!r}; known: {', '.join(MODULES)}")
    try:
        venue = import_module(module).VENUE
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise VenueMissing(f"the {name} protocol is not part of this simulator") from error
    if not isinstance(venue, Venue):
        raise TypeError(f"{module}.VENUE is not a Venue")
    return venue
