"""Exports: every call once, whole files or none, and nothing that a spreadsheet would run."""

import csv
import io
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from tests.server.books import at, ledger, record
from tests.server.harness import Installation, Json
from tests.storage.samples import attempt, call
from tierwise.storage.records import CallStatus

pytestmark = pytest.mark.anyio

WHEN = ("--start", "2026-03-28", "--end", "2026-03-29")
NOON = at("2026-03-28T12:00")
EVIL = '=HYPERLINK("http://evil.example","a")'


@pytest.fixture
async def filled(demo: Installation) -> Installation:
    """Three calls in the period and one after it."""
    await record(
        demo,
        call(
            "a",
            attempt(cost_nano_usd=7, outcome="rate_limited", cache_read_tokens=4),
            attempt(
                cost_nano_usd=1_500_000_000,
                cost_reported=True,
                model="large",
                estimated=True,
                cache_write_tokens=3,
                cache_write_1h_tokens=2,
            ),
            started_at=NOON,
            tenant=EVIL,
            agent='say "hi", twice\nor not',
            metadata={"ünï": "✓"},
            saved_nano_usd=-9,
            complexity_score=0.25,
        ),
        call("b", attempt(cost_nano_usd=None), started_at=NOON + 1, status=CallStatus.FAILED, error="Oops"),
        call("c", started_at=NOON + 2, cached=True),
        call("late", started_at=at("2026-03-30T00:00")),
    )
    return demo


def out(ended: CompletedProcess[bytes]) -> str:
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stderr == b""
    return ended.stdout.decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_csv_holds_each_call_of_the_period_once(filled: Installation):
    rows = table(out(await filled.run("export", *WHEN)))
    assert [row["call_id"] for row in rows] == ["a", "b", "c"]
    first, second, third = rows
    assert first["started_at"] == "2026-03-28T12:00:00.000+00:00"
    assert (first["cost_usd"], first["saved_usd"], first["attempts"]) == ("1.500000007", "-0.000000009", "2")
    assert (first["input_tokens"], first["cache_read_tokens"], first["estimated"]) == ("20", "4", "True")
    assert (first["cache_write_tokens"], first["cache_write_1h_tokens"]) == ("3", "2")
    assert [row["cost_reported"] for row in rows] == ["True", "False", "False"]
    assert first["agent"] == 'say "hi", twice\nor not'
    assert json.loads(first["metadata"]) == {"ünï": "✓"}
    assert (second["cost_usd"], second["status"], second["error"]) == ("", "failed", "Oops")
    assert (third["cached"], third["cost_usd"], third["complexity_score"]) == ("True", "0", "")


@pytest.mark.parametrize("text", [EVIL, "+1", "-1", "@x", "\tx", "\rx", "\n=1", " =1", "＝1", "－1"])  # noqa: RUF001
async def test_csv_holds_nothing_that_a_spreadsheet_would_compute(demo: Installation, text: str):
    await record(demo, call(text, started_at=NOON, operation=text, agent="a=1", metadata={text: text}))
    [row] = table(out(await demo.run("export", *WHEN)))
    shown = text.replace("\r", r"\r")  # which would act on a terminal
    assert row["call_id"] == row["operation"] == f"'{shown}"
    assert row["agent"] == "a=1"


async def test_json_and_json_lines_say_the_same(filled: Installation):
    rows = json.loads(out(await filled.run("export", *WHEN, "--format", "json")))
    lines = out(await filled.run("export", *WHEN, "--format", "jsonl")).splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert [row["cost_usd"] for row in rows] == [1.500000007, None, 0.0]
    assert rows[0]["tenant"] == EVIL


async def test_an_empty_period_is_an_empty_export(demo: Installation):
    assert json.loads(out(await demo.run("export", *WHEN, "--format", "json"))) == []
    assert out(await demo.run("export", *WHEN, "--format", "jsonl")) == ""
    assert table(out(await demo.run("export", *WHEN))) == []


async def test_sums_are_exported_by_any_dimension(filled: Installation):
    by_day = table(out(await filled.run("export", *WHEN, "--aggregate", "day")))
    assert [(row["key"], row["calls"]) for row in by_day] == [("2026-03-28", "3"), ("2026-03-29", "0")]
    by_model = json.loads(out(await filled.run("export", *WHEN, "--aggregate", "model", "--format", "json")))
    assert [(row["key"], row["cost"]) for row in by_model] == [("large", 1.5), ("small", 7e-9)]


async def test_filters_export_only_the_calls_that_have_every_value(filled: Installation):
    assert [
        row["call_id"] for row in table(out(await filled.run("export", *WHEN, "--filter", "tenant=")))
    ] == [
        "b",
        "c",
    ]
    metadata = ("--filter", "metadata.ünï=✓", "--filter", "model=small")
    assert [row["call_id"] for row in table(out(await filled.run("export", *WHEN, *metadata)))] == ["a"]
    by_tier = table(out(await filled.run("export", *WHEN, *metadata, "--aggregate", "metadata.ünï")))
    assert [(row["key"], row["calls"]) for row in by_tier] == [("✓", "1")]


async def test_a_file_is_replaced_whole_and_only_its_owner_reads_it(filled: Installation, tmp_path: Path):
    target = tmp_path / "calls.csv"
    target.write_text("before")
    assert out(await filled.run("export", *WHEN, "-o", str(target))) == ""
    assert len(table(target.read_text())) == 3
    assert target.stat().st_mode & 0o777 == 0o600


async def test_an_export_that_fails_leaves_the_old_file_and_no_other(filled: Installation, tmp_path: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "calls.csv").write_text("before")
    filled.configure({"usage_tracking": {"storage_path": "file/usage.db"}})
    (filled.data / "file").write_text("where a folder should be")
    ended = await filled.run("export", *WHEN, "-o", str(folder / "calls.csv"))
    assert ended.returncode == 1
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("calls.csv", "before")]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["-o", "no/such/folder/calls.csv"], 1, "Cannot write no/such/folder/calls.csv: No such file"),
        (["--format", "parquet"], 2, "Parquet is no text: name a file with -o."),
        (["--format", "xlsx"], 2, "'xlsx' is not one of"),
        (["--filter", "colour=red"], 2, "`filters` has 'colour', which is none of provider, model, "),
        (["--aggregate", "colour"], 2, "`group_by` has 'colour', which is none of day, "),
        (["--days", "0"], 2, "0 is not in the range"),
        (["--days", "1000000000"], 2, "is not in the range"),
        (["--start", "2026-03-02", "--end", "2026-03-01"], 2, "`start` 2026-03-02 comes after the last day"),
    ],
)
async def test_an_export_that_cannot_be_says_why(
    demo: Installation, options: list[str], code: int, sentence: str
):
    ended = await demo.run("export", *options)
    assert ended.returncode == code
    assert sentence in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()


async def test_a_reader_that_leaves_early_ends_the_export_without_a_traceback(demo: Installation):
    await record(demo, *(call(str(number), started_at=NOON + number) for number in range(3000)))
    command = " ".join([sys.executable, "-m", "tierwise.server.cli", "export", *WHEN, "| head -1"])
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, env=demo.variables, check=False)
    assert ended.stdout.startswith(b"call_id,")
    assert ended.stderr == b""


async def test_progress_shows_on_a_terminal(filled: Installation, tmp_path: Path):
    filled.environ |= {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}  # a pipe that says it is a terminal
    ended = await filled.run("export", *WHEN, "-o", str(tmp_path / "calls.csv"))
    assert b"Exporting" in ended.stderr
    assert ended.stdout == b""


async def test_parquet_without_its_library_names_the_extra(filled: Installation, tmp_path: Path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError")  # the folder that it runs in comes first
    target = tmp_path / "calls.parquet"
    ended = await filled.run("export", *WHEN, "--format", "parquet", "-o", str(target))
    assert ended.returncode == 1
    assert ended.stderr == b"Error: Parquet needs pyarrow: pip install 'tierwise[parquet]'.\n"
    assert not target.exists()


async def test_parquet_holds_the_calls_with_their_types(filled: Installation, tmp_path: Path):
    parquet: Any = import_module("pyarrow.parquet")  # its types are not known
    target = tmp_path / "calls.parquet"
    assert out(await filled.run("export", *WHEN, "--format", "parquet", "-o", str(target))) == ""
    rows = parquet.read_table(target).to_pylist()
    assert rows == json.loads(out(await filled.run("export", *WHEN, "--format", "json")))


# As a resource


async def resource(installation: Installation, uri: str) -> TextResourceContents:
    async with installation.client() as client:
        [contents] = (await client.read_resource(uri, cache_mode="bypass")).contents
    assert isinstance(contents, TextResourceContents)
    return contents


async def recent(installation: Installation, count: int) -> None:
    now = int(datetime.now(UTC).timestamp() * 1000)
    async with ledger(installation) as store:
        for number in range(count):
            await store.record(call(f"call-{number}", attempt(), started_at=now - number))


@pytest.mark.parametrize(
    ("format", "mime_type"),
    [("csv", "text/csv"), ("json", "application/json"), ("jsonl", "application/jsonl")],
)
async def test_a_short_export_is_handed_out_as_text(demo: Installation, format: str, mime_type: str):
    await recent(demo, 2)
    found = await resource(demo, f"usage://export/{format}/2")
    assert found.mime_type == mime_type
    assert found.text.count("call-") == 2
    assert list((demo.data / "exports").iterdir()) == []


async def test_a_long_export_is_a_link_to_a_file_in_the_data_folder(demo: Installation):
    await recent(demo, 1500)
    found = await resource(demo, "usage://export/json/2")
    assert found.mime_type == "application/json"
    link: Json = json.loads(found.text)
    assert link["calls"] == 1500
    assert link["note"] == "Longer than 500,000 bytes, so it is in a file."
    [path] = (demo.data / "exports").iterdir()
    assert link["file"] == path.as_uri()
    assert path.stat().st_size == link["bytes"] > 500_000
    assert len(json.loads(path.read_text())) == 1500


async def test_parquet_is_a_link_however_short_it_is(demo: Installation):
    parquet: Any = import_module("pyarrow.parquet")
    await recent(demo, 2)
    link: Json = json.loads((await resource(demo, "usage://export/parquet/2")).text)
    assert (link["calls"], link["note"]) == (2, "Parquet is no text, so it is in a file.")
    [path] = (demo.data / "exports").iterdir()
    assert len(parquet.read_table(path).to_pylist()) == 2


async def test_an_unknown_format_is_refused_with_the_known_ones(demo: Installation):
    async with demo.client() as client:
        with pytest.raises(MCPError, match="'xml' is not known there: give csv, json, jsonl, parquet"):
            await client.read_resource("usage://export/xml/2")
