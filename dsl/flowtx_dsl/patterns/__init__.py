"""Saga, TCC, XA, two-phase message and DTM workflow mode, each a workflow in the language itself."""
