"""Public test kit: a simulated world, faults, Hypothesis strategies, conformance kits."""
