"""The linter: what breaks replay, found in the source; import its files, not this face."""
