"""One file for each kind of fault that the linter finds; import its files, not this face."""
