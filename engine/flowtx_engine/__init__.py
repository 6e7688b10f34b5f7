"""The flowtx engine: drives journaled workflows on trio."""
