"""Where our programs open their Apps, and what the outcome says of it."""

from importlib.metadata import version

from benchmarks.job import Request
from holdfast.app import App

VERSION = f"holdfast {version('holdfast')}"


def app_in(asked: Request, name: str = "holdfast") -> App:
    """An App on the store that was asked for, in a file of this name, or with keys that begin with it."""
    match asked.store:
        case "memory":
            return App("memory:")
        case "redis":
            return App(f"{asked.url}?prefix={name}:")
        case _:
            return App(f"sqlite:///{asked.directory}/{name}.db")


def promised(app: App) -> dict[str, object]:
    """How safe the store says a send is: `synced` is SQLite's FULL."""
    return {"store": app.url.scheme, "level": str(app.backend.features.level)}
