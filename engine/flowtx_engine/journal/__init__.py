"""The durable record of every transaction: append, read, claim."""
