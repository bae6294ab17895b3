"""Settings for tests: `some_settings(MAX_POSITIONS="2")`, every other value its default, nothing read from outside."""

from core.config import Settings, load_settings


def some_settings(**names: str) -> Settings:
    """Settings from names of the environment, with a simulator key for Binance unless the names say otherwise."""
    given = {"BINANCE_API_KEY": "sim", "BINANCE_API_SECRET": "sim", "BINANCE_URL": "http://127.0.0.1:1", **names}
    return load_settings(given, None)
