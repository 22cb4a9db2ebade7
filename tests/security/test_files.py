"""What is written is for its owner alone, inside the data folder, and lands in no place that others chose."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.books import record
from tests.server.harness import MARKS, Installation, chat
from tests.storage.samples import call
from tierwise.server.files import replacing
from tierwise.storage.errors import StorageError
from tierwise.storage.spool import Spool
from tierwise.storage.sqlite.store import open_store

pytestmark = MARKS

LONG = [call(f"call-{number}", metadata={"filler": "x" * 1000}) for number in range(600)]
"""More than an export hands out as text."""


@pytest.fixture
def permissive() -> Iterator[None]:
    """Whatever is created is open to everybody unless its mode says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The permissions of everything in the folder, and its own, by path."""
    return {
        str(path.relative_to(folder.parent)): oct(path.lstat().st_mode & 0o777)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.usefixtures("permissive")
async def test_everything_that_a_server_writes_is_for_its_owner_alone(installation: Installation):
    installation.configure(
        {
            "usage_tracking": {"storage_path": "State/usage.db"},
            "budgets": [{"name": "all", "period": "day", "limit_usd": 1, "at_limit": "warn"}],
        }
    )
    deeper = installation.folder / "not" / "there" / "yet"
    installation.environ["TIERWISE_DATA_DIR"] = str(deeper)
    await record(installation, *LONG)
    async with installation.client() as client:
        receipt = await chat(client)
        await client.call_tool("rate_answer", {"call_id": receipt["call_id"], "verdict": "good"})
        await client.read_resource("usage://export/csv/3660")
        with sqlite3.connect(deeper / "State" / "usage.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "will be written down later" in (await chat(client, "another"))["warning"]
            found = modes(installation.folder / "not")
        other.close()
    folders = {"not", "not/there", "not/there/yet", "not/there/yet/State"}
    folders |= {f"not/there/yet/State/{name}" for name in ("exports", "usage.spool")}
    assert {path: found.pop(path) for path in folders} == dict.fromkeys(folders, "0o700")
    assert found == dict.fromkeys(found, "0o600")
    written = {path.rpartition("/")[2] for path in found}
    assert written >= {"usage.db", "usage.db-wal", "usage.db-shm", "usage.db.lock", "cache.key"}
    assert {Path(name).suffix for name in written} >= {".csv", ".json"}


@pytest.mark.usefixtures("permissive")
async def test_an_export_to_a_named_file_is_for_its_owner_alone_and_replaces_a_link(demo: Installation):
    victim = demo.folder / "victim"
    victim.write_text("untouched")
    target = demo.folder / "calls.csv"
    target.symlink_to(victim)
    assert (await demo.run("export", "-o", str(target))).returncode == 0
    assert (oct(target.lstat().st_mode & 0o777), target.is_symlink()) == ("0o600", False)
    assert victim.read_text() == "untouched"


async def test_an_export_of_a_resource_replaces_a_link_in_its_place(demo: Installation):
    victim = demo.folder / "victim"
    victim.write_text("untouched")
    exports = demo.data / "exports"
    exports.mkdir(parents=True)
    target = exports / "tierwise-3660-days.csv"
    target.symlink_to(victim)
    await record(demo, *LONG)
    async with demo.client() as client:
        await client.read_resource("usage://export/csv/3660")
    assert not target.is_symlink()
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("dangling", [True, False])
@pytest.mark.parametrize(
    "name", ["tierwise.db", "tierwise.db-wal", "tierwise.db-shm", "tierwise.db.lock", "cache.key"]
)
async def test_a_link_in_the_place_of_a_file_of_the_store_is_refused_and_not_followed(
    tmp_path: Path, name: str, dangling: bool
):
    victim, folder = tmp_path / "victim", tmp_path / "data"
    folder.mkdir(mode=0o700)
    if not dangling:
        victim.write_bytes(b"k" * 32)
    (folder / name).symlink_to(victim)
    with pytest.raises(StorageError, match=f"{name} is a symbolic link.*TIERWISE_DATA_DIR"):
        async with open_store(folder / "tierwise.db", max_cache_bytes=1000):
            pass
    assert victim.exists() != dangling
    assert dangling or victim.read_bytes() == b"k" * 32


async def test_a_data_folder_that_is_a_link_is_used(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    async with open_store(tmp_path / "data" / "tierwise.db", max_cache_bytes=1000):
        assert (tmp_path / "real" / "tierwise.db").exists()


async def test_a_folder_into_which_everybody_may_write_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tmp_path.chmod(0o777)
    async with open_store(tmp_path / "tierwise.db", max_cache_bytes=1000):
        pass
    assert f"Everybody can put files into {tmp_path}" in caplog.text


async def test_links_and_pipes_in_the_spool_are_neither_read_nor_written_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    victim, folder = tmp_path / "victim", tmp_path / "spool"
    victim.write_text("untouched")
    folder.mkdir()
    kept = call("one")
    (folder / "one.part").symlink_to(victim)
    (folder / "link.json").symlink_to(victim)
    os.mkfifo(folder / "pipe.json")
    spool = Spool(folder)
    async with open_store(tmp_path / "tierwise.db", max_cache_bytes=1000) as store:
        await spool.keep(kept)
        assert victim.read_text() == "untouched"
        with anyio.fail_after(10):
            await spool.replay(store)
        found = [it async for batch in store.export_calls(start=0, end=2**52) for it in batch]
    assert found == [kept]
    assert "link.json cannot be read" in caplog.text
    assert "pipe.json cannot be read" in caplog.text


HOSTILE = st.text(st.characters(), min_size=1, max_size=300) | st.sampled_from(
    ["../x", "..", ".", "/etc/x", "a/b", "a\0b", "$(id)", "-rf", "~", "C:\\x", "\ud800", "x" * 2000, "a\nb"]
)


@given(call_id=HOSTILE)
@settings(deadline=None, max_examples=50)
async def test_no_id_leads_out_of_the_spool(tmp_path_factory: pytest.TempPathFactory, call_id: str):
    folder = tmp_path_factory.mktemp("hostile")
    spool = Spool(folder / "spool")
    await spool.keep(call(call_id))
    assert {path.name for path in folder.iterdir()} == {"spool"}
    assert all(path.suffix == ".json" and path.is_file() for path in (folder / "spool").iterdir())
    async with open_store(folder / "tierwise.db", max_cache_bytes=1000) as store:
        await spool.replay(store)
        [found] = [it.call_id async for batch in store.export_calls(start=0, end=2**52) for it in batch]
    assert found == call_id.encode("utf-8", "replace").decode()


@settings(deadline=None)
@given(name=st.text(st.characters(), min_size=1, max_size=200))
def test_replacing_a_file_writes_nowhere_else(tmp_path_factory: pytest.TempPathFactory, name: str):
    folder = tmp_path_factory.mktemp("replacing")
    path = folder / name.replace("/", "_").replace("\0", "_").encode("utf-8", "replace").decode()
    if path.name in (".", "..") or len(path.name.encode()) > 255:
        return
    with replacing(path) as file:
        file.write(b"whole")
    assert [it.read_bytes() for it in folder.iterdir()] == [b"whole"]
