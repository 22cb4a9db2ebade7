"""Fixtures for every test."""

import os
import warnings

import pytest
from hypothesis import settings

from tierwise.routing.providers.litellm import loading

# No test is about how fast the machine is; and what CI tries does not change with the weather.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio: the drivers of the stores know no other loop."""
    return "asyncio"


@pytest.fixture(scope="session")
def litellm_loaded() -> None:
    """litellm is imported once, before any test needs it: it warns while it is imported, which in a
    background thread would fall into whichever test runs then, where warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loading().result()
