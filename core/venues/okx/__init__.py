"""OKX v5 perpetual swaps margined in USDT and USDC: facts, payloads, orders. Protocol state of autumn 2026."""
