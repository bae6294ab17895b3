"""Bybit v5 unified account, linear perpetuals: the protocol in front of the matching engine."""
