"""Replays recorded candles through the daemon's own engine, with the simulator's exchange in place of a venue."""
