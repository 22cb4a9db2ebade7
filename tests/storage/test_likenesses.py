"""Answers that are found by what their calls resemble."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.conftest import MAX_CACHE_BYTES
from tests.storage.samples import NOON, answer, call, digest
from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, Likeness
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio


def alike(name: str, scope: bytes = b"scope", **changes: object) -> CachedAnswer:
    """An answer whose embedding is made of `name`."""
    return answer(name, likeness=Likeness(scope=scope, embedding=name.encode()), **changes)


async def found(store: Store, scope: bytes = b"scope", *, now: int = NOON, limit: int = 10) -> list[bytes]:
    return [embedding for _, embedding in await store.find_alike(scope, now=now, limit=limit)]


def rows(file: Path) -> int:
    """How many likenesses are on disk."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT count(*) FROM likenesses").fetchone()[0]


async def test_the_newest_answers_of_a_scope_are_found_newest_first(store: Store) -> None:
    for name in "abc":
        await store.record(call(name), alike(name))
    assert await store.find_alike(b"scope", now=NOON, limit=2) == [(digest("c"), b"c"), (digest("b"), b"b")]


async def test_scopes_never_mix(store: Store) -> None:
    await store.keep_answer(alike("mine", b"mine"))
    await store.keep_answer(alike("yours", b"yours"))
    await store.keep_answer(answer("nobody's"))
    assert await found(store, b"mine") == [b"mine"]
    assert await found(store, b"yours") == [b"yours"]
    assert await found(store, b"") == []


async def test_an_answer_does_not_bring_its_likeness_back(store: Store) -> None:
    await store.keep_answer(alike("one"))
    assert await store.find_answer(digest("one"), now=NOON) == answer("one")


async def test_an_answer_is_not_alike_from_the_moment_it_expires(store: Store) -> None:
    await store.keep_answer(alike("one", expires_at=NOON + 10))
    assert await found(store, now=NOON + 9) == [b"one"]
    assert await found(store, now=NOON + 10) == []


async def test_an_answer_that_is_replaced_takes_its_likeness_along(store: Store) -> None:
    await store.keep_answer(alike("one", b"old"))
    await store.keep_answer(alike("one", b"new"))
    assert (await found(store, b"old"), await found(store, b"new")) == ([], [b"one"])
    await store.keep_answer(answer("one"))
    assert await found(store, b"new") == []


async def test_no_likeness_outlives_its_answer(tmp_path: Path) -> None:
    file = tmp_path / "tierwise.db"
    async with open_store(file, max_cache_bytes=MAX_CACHE_BYTES) as store:
        for name in "abcde":
            await store.keep_answer(alike(name, content=name * 2_900, expires_at=NOON + ord(name)))
        assert await found(store) == [b"e", b"d", b"c"]
        assert rows(file) == 3
        await store.purge_answers(now=NOON + ord("d"))
        assert await found(store) == [b"e"]
        assert rows(file) == 1


async def test_embeddings_count_against_the_size_of_the_cache(store: Store) -> None:
    for name in "abc":
        await store.keep_answer(alike(name * 4_000, content=""))
    assert len(await found(store)) == 2
