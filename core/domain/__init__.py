"""Decisions: plain functions and small values. No await, no clock, no log, no float; imports only itself."""
