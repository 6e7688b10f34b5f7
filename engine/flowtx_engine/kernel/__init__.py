"""Runs workflow coroutines deterministically: pure, no I/O, no clock, no dice, no trio."""
