"""The messages that everybody appends. Needs the standard library alone: the peers' environments import it."""

SIZE = 100
BATCH = 1_000
BODY = b"m" * SIZE
BODIES = [BODY] * BATCH


def quantile(values: list[float], part: float) -> float:
    """The value that ``part`` of them (0 to 1) are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
