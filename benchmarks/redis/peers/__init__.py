"""One module per peer, run in the peer's own environment, with the settings that its documentation offers for speed.

Each says which and why. In the speed phases no peer keeps results where it lets one choose, though ours records every
completion: the comparison is in the peers' favour. With `--keep` those that can keep results do.
"""
