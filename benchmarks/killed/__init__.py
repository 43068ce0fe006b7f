"""What becomes of jobs whose worker is killed with -9: `python -m benchmarks killed`.

`contestants` names who takes part, `trial` kills a worker and watches (on a `stage`, by the `effects` of its jobs, its
`processes` as one), `command` makes all rounds, `table` shows them. `job` is what every contestant's module shares; the
modules themselves are in `peers`, and `ours`.
"""
