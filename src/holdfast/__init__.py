"""Background jobs, durable logs and buffered delivery behind one small set of words."""

__version__ = "0.1.0"
