"""Holdfast on Redis beside its peers on the same server: `python -m benchmarks redis`.

A `library` says how it sends and how its worker starts; `phases` measure it, one after the other, by `senders` and
`workers`, looking through the `wire` at what the server has. The libraries are in `peers`, each run in an environment
of its own, and `ours`; `asked` is what they are told. `contestants` names the programs, `targets` what is claimed of
them, `command` makes the rounds and prints the `table`.
"""
