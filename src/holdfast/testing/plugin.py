"""The pytest plugin: fixtures for testing programs that use Holdfast. What they need is imported when one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.testing.clock import MovableClock
    from holdfast.testing.kit import Kit

HELP = "the App under test, such as package.module:app, for the fixture holdfast_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``holdfast_app``."""
    parser.addini("holdfast_app", HELP, default="")


@pytest.fixture
def holdfast_app(request: pytest.FixtureRequest) -> App:
    """The App under test: the one that the setting ``holdfast_app`` names. Override it to choose another."""
    named = str(request.config.getini("holdfast_app"))
    if not named:
        raise pytest.UsageError(
            "which App? Set holdfast_app = package.module:app in pytest's configuration, "
            "or write a fixture holdfast_app that returns it"
        )
    return _import(named)


@pytest.fixture
def holdfast(holdfast_app: App) -> Iterator[Kit]:
    """The App's kit: for this test it lives on an empty memory store with a clock of its own."""
    from holdfast.testing.kit import harness

    with harness(holdfast_app) as kit:
        yield kit


@pytest.fixture
def holdfast_clock(holdfast: Kit) -> MovableClock:
    """The clock of the App under test."""
    return holdfast.clock


def _import(named: str) -> App:
    from importlib import import_module

    from holdfast.app import App

    module, _, attribute = named.partition(":")
    found = getattr(import_module(module), attribute or "app", None)
    if not isinstance(found, App):
        raise pytest.UsageError(f"holdfast_app = {named}: that is {found!r:.80}, no App")
    return found
