"""The trio side of the engine: drive, lease, recover, time, park, shut down."""
