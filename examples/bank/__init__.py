"""Two banks and a transfer between them: the smallest transaction that must never lose a cent."""
