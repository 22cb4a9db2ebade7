"""`usage://export/…`: an export that an agent can read, or a link to the file where it is too long."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

import anyio.to_thread
from pydantic import BaseModel

from tierwise.server.clock import Period
from tierwise.server.errors import UnusableFile
from tierwise.server.exports import Format, export
from tierwise.server.files import replacing
from tierwise.server.settings import Settings, database_path
from tierwise.server.usage import UsageQuery
from tierwise.storage.ports import Ledger

MOST_BYTES = 500_000
"""Longest export that is handed out as text; hosts cut tool output far below it."""
MIME_TYPES: Mapping[Format, str] = {
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}


class ExportedFile(BaseModel):
    """Where the export lies, on the server's machine."""

    file: str
    """Its `file:` URI. Reading the same resource again replaces the file."""
    bytes: int
    calls: int
    note: str


def exports_folder(settings: Settings) -> Path:
    """Where long exports go."""
    return database_path(settings).parent / "exports"


async def exported(ledger: Ledger, period: Period, format: Format, folder: Path) -> str | ExportedFile:
    """The calls of `period` as text, or the file in `folder` that holds them if that is over `MOST_BYTES`.

    Raises:
        UnusableFile: the file cannot be written, or the format needs a library.
    """
    written: list[int] = []
    path = folder / f"tierwise-{period.days}-days.{format}"
    try:
        await anyio.to_thread.run_sync(partial(folder.mkdir, mode=0o700, exist_ok=True))
        with SpooledTemporaryFile(max_size=MOST_BYTES, dir=str(folder)) as file:
            await export(ledger, UsageQuery(period), format, file, written.append)
            size = file.tell()
            file.seek(0)
            if size <= MOST_BYTES and format != "parquet":
                return file.read().decode()
            await anyio.to_thread.run_sync(_keep, file, path)
    except OSError as error:
        raise UnusableFile(f"Cannot write in {folder}: {error.strerror}.") from error
    reason = "Parquet is no text" if format == "parquet" else f"Longer than {MOST_BYTES:,} bytes"
    return ExportedFile(
        file=path.as_uri(), bytes=size, calls=sum(written), note=f"{reason}, so it is in a file."
    )


def _keep(file: IO[bytes], path: Path) -> None:
    with replacing(path) as kept:
        shutil.copyfileobj(file, kept)
