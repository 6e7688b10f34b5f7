"""Perform one step: call a Python function or a remote participant."""
