"""The DTM protocol: wire, operations and the transports that only translate."""
