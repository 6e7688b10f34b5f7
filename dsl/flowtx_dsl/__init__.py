"""The words workflow authors write: standard library and msgspec only; import its files, not this face."""
