"""Decisions: plain functions and small values. No await, no clock, no log, no float; imports nothing of ours but itself."""
