"""Binance USD-M futures: facts, payloads, orders. Protocol state of autumn 2026."""
