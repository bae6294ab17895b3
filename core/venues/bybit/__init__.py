"""Bybit v5, linear perpetuals margined in USDT and USDC."""
