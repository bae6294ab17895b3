"""Settings for tests: `some_settings(MAX_POSITIONS="2")`, every other value its default, nothing read from outside."""

from collections.abc import Mapping
from typing import Final

from core.config import Settings, load_settings

NO_COOLDOWNS: Final[Mapping[str, str]] = {
    f"COOLDOWN_{which}_SECONDS": "0" for which in ("AFTER_LOSS", "AFTER_WIN", "SAME_SIDE", "OPPOSITE_SIDE")
}
"""Most tests enter a symbol again at once; those of the cooldowns set them."""


def some_settings(**names: str) -> Settings:
    """Settings from names of the environment, with a simulator key for Binance unless the names say otherwise."""
    given = {"BINANCE_API_KEY": "sim", "BINANCE_API_SECRET": "sim", "BINANCE_URL": "http://127.0.0.1:1", **names}
    return load_settings(given, None)
