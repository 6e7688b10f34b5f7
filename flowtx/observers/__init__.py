"""Who watches a server: its log, its alerts, its metrics, its traces."""
