"""Taking over from DTM: reading its store, and going on with its unfinished transactions in flowtx's journal."""
