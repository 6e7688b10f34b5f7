"""Examples: small programs that use flowtx as its users do."""
