"""Binance USD-M futures as seen on the wire: REST, user data stream and market streams over the neutral engine."""
