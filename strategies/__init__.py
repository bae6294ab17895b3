"""Strategies: signals from candles. They see `core.domain` only."""
