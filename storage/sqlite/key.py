"""The secret that keys cache digests, so that a copy of the database alone does not reveal prompts."""

import logging
import os
import tempfile
from pathlib import Path

_logger = logging.getLogger(__name__)

_SIZE = 32
"""Bytes: as many as the digest has, so that neither is the weaker part."""


def load_key(path: Path) -> bytes:
    """The key in the file at `path`, which is created or, where it is damaged, replaced.

    The caller holds the lock under which databases are prepared. Raises `OSError`.
    """
    if path.exists():
        key = path.read_bytes()
        if len(key) == _SIZE:
            return key
        _logger.warning("The key file %s was damaged and is replaced: kept answers are not found.", path)
    return _create(path)


def _create(path: Path) -> bytes:
    key = os.urandom(_SIZE)
    # Another process may be killed half-way: the file appears whole or not at all. Mode is 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    Path(temporary).replace(path)
    return key
