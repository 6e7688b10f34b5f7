"""For services that take part in transactions: the DTM client, the barrier, branch ids."""
