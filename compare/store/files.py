"""Files that are there whole or not at all: every writer of the store and of reports uses these."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file through a temporary neighbour and a rename, on disk before it gets its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A file that takes its name when the block has ended and it is on disk; `keep` is its old one's name."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        if keep is not None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, keep)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    # Names outlive a power cut only when their folder is on disk, too; some file systems refuse.
    with contextlib.suppress(OSError), open_folder(path.parent) as folder:
        os.fsync(folder)


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """The descriptor of a folder, to lock it or to put its names on disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)
