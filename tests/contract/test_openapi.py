"""The API keeps what its OpenAPI document says: a few requests an operation, every check.

The long form, with a hundred and more, is `benchmarks/api_fuzz.py`.
"""

from functools import partial
from typing import Any

import pytest
from api_world import STRATEGIES, api_world
from cryptography.fernet import Fernet
from openapi_fuzz import configuration, fuzz, of_app

from hftray.storage.catalog import Catalog
from hftray.storage.database import connect
from hftray.storage.schema import seed
from hftray.storage.secrets import SecretBox

SEED = 20260601
EXAMPLES = 8
OPERATIONS = 32


@pytest.mark.parametrize("token", [None, "a-long-token"])
async def test_no_request_breaks_the_document(token: str | None) -> None:
    async with api_world(token=token) as world:
        report = fuzz(of_app(world.app, configuration(examples=EXAMPLES, seed=SEED, token=token)))
    assert not report.failures, "\n\n".join(report.failures)
    assert len(report.requests) >= OPERATIONS
    assert report.answers[200] > 300
    assert (report.answers[401] > 0) is (token is not None)


async def test_postgresql_stores_or_finds_all_that_the_schemas_allow(database_url: str) -> None:
    """The in-memory catalogue takes any text and number; the real one must not fail on them."""
    engine = connect(database_url)
    await seed(engine, STRATEGIES)
    await engine.dispose()
    # Schemathesis calls from an event loop of its own: this engine is first used there.
    box = SecretBox(Fernet.generate_key().decode(), "test")
    catalog = Catalog(connect(database_url), box)
    async with api_world(change=partial(_instead, catalog)) as world:
        report = fuzz(of_app(world.app, configuration(examples=EXAMPLES, seed=SEED, token=None)))
    assert not report.failures, "\n\n".join(report.failures)
    assert report.answers[201] > 20


def _instead(catalog: Catalog, _memory: Any) -> Catalog:
    return catalog
