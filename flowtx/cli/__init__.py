"""The flowtx command line: one file per command."""
