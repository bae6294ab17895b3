"""The venue simulator: a program that speaks a venue's real protocol around one small matching engine.

Nothing here imports the daemon: a parser shared by both sides would share its mistakes.
"""
