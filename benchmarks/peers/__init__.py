"""One module per peer, run in the peer's own environment; each prints one outcome (see `benchmarks.job`)."""
