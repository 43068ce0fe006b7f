"""One module per peer, run in the peer's own environment: its app as the documentation has it (see `killed.job`)."""
