"""Payloads that the database does not hold as they are: compressed, encrypted, or both."""
