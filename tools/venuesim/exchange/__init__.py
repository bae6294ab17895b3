"""The venue-neutral exchange: market, accounts, orders, conditional orders and matching, without I/O or clocks."""
