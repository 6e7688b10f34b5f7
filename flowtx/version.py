"""The version of flowtx: the one place it is written; the wheel, the CLI and the server read it here."""

__version__ = "0.1.0"
