"""Speed of Holdfast beside its peers and the raw limits of the machine: `python -m benchmarks`."""
