"""An App on each store that holds logs."""

import pytest

from holdfast import App
from holdfast.capabilities import Logs
from holdfast.stores import LOGS_BUILT_IN
from holdfast.stores.sqlite.backend import SqliteBackend

URLS = {
    "memory": "memory:",
    **({"sqlite": "sqlite:///{}/jobs.db"} if issubclass(SqliteBackend, Logs) else {}),
    **({"disk": "disk:{}/data"} if "disk" in LOGS_BUILT_IN else {}),
}


@pytest.fixture(params=URLS)
def url(request, tmp_path):
    """The URL of a store of each kind, which holds nothing yet."""
    return URLS[request.param].format(tmp_path)


@pytest.fixture
def memory():
    """An App whose logs lie in memory, for what does not depend on the store."""
    app = App("memory:")
    yield app
    app.close()


@pytest.fixture
def app(url):
    """An App whose logs lie there."""
    app = App("memory:", logs=None if url == "memory:" else url)
    yield app
    app.close()
