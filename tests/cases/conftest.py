"""A whole service, as its users start it."""

from collections.abc import Iterator

import pytest

from service.launch import launched


@pytest.fixture(scope="module")
def address(database_url: str) -> Iterator[str]:
    """Where the module's own service listens: the API, a worker and its child."""
    with launched({"PLUMBLINE_DATABASE_URL": database_url}) as service:
        yield service.address
