"""Where text comes from: the standard library, a user's file or folder, a corpus from the hub."""

import hashlib
import pydoc_data.topics
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from arena.config import ConfigError, HFText
from arena.tasks.base import SPLITS

FEW_FILES = 20
"""A corpus of fewer files is split by blocks instead: of a twentieth of it, within these bounds."""
LEAST_BLOCK, LARGEST_BLOCK = 256, 8192
HELD_OUT_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents by split, and what identifies them."""

    train: bytes
    val: bytes
    test: bytes
    digest: str
    """sha256 of all documents, sorted."""
    source: str

    def split(self, name: str) -> bytes:
        """The documents of a split, one after another."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


@lru_cache(maxsize=4)
def standard_library() -> Corpus:
    """The sources in the top folder of the running Python's standard library."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    return split_documents([p.read_bytes() for p in sorted(folder.glob("*.py"))], "standard library sources")


@lru_cache(maxsize=1)
def documentation() -> bytes:
    """The prose of the language reference that every Python carries (another domain)."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


@lru_cache(maxsize=4)
def local(path: str) -> Corpus:
    """A user's file, or every regular file below a folder.

    Raises:
        ConfigError: nothing there, unreadable, or too little to set anything aside.
    """
    root = Path(path)
    if not root.exists():
        raise ConfigError(f"task.path={path}: no such file or folder; give an existing one")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    try:
        documents = [p.read_bytes() for p in files]
    except OSError as error:
        raise ConfigError(
            f"task.path={path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not sum(map(len, documents)):
        raise ConfigError(f"task.path={path}: empty; give a file or folder with text")
    return split_documents(documents, "local files", f"task.path={path}")


@lru_cache(maxsize=4)
def hub(config: HFText) -> Corpus:
    """The first documents of a streamed corpus.

    Raises:
        ConfigError: the extra is missing, or the corpus cannot be had.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ConfigError(
            "task=hf_text: needs the extra `datasets`; pip install 'ebt-arena[datasets]'"
        ) from error
    try:
        stream = load_dataset(
            config.dataset,
            config.subset,
            data_files=config.data_files,
            split=config.split,
            revision=config.revision,
            streaming=True,
        )
        documents = [str(row[config.column]).encode() for row in stream.take(config.documents)]
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"task.dataset={config.dataset}: cannot be loaded ({reason[0]}); check its name, subset, split, "
            "column and the network"
        ) from error
    return split_documents(documents, f"hub corpus {config.dataset}", f"task.dataset={config.dataset}")


def split_documents(documents: list[bytes], source: str, key: str = "task") -> Corpus:
    """Set documents aside by the rank of their content's hash: 5% val, 5% test, at least one each.

    Few documents are cut into blocks first. A document's copies share its split.
    """
    digest = hashlib.sha256()
    for document in sorted(documents):
        digest.update(hashlib.sha256(document).digest())
    if len(documents) < FEW_FILES:
        block = min(LARGEST_BLOCK, max(LEAST_BLOCK, sum(map(len, documents)) // FEW_FILES))
        # A short rest joins the block before it: alone it could be a whole held-out split.
        starts = [(d, range(0, max(1, len(d) - block + 1), block)) for d in documents]
        documents = [d[i : i + block if i + 2 * block <= len(d) else len(d)] for d, r in starts for i in r]
    unique: dict[bytes, bytes] = {}
    for document in documents:
        if document.strip():
            unique[hashlib.sha256(document).digest()] = document
    if len(unique) < len(SPLITS):
        raise ConfigError(
            f"{key}: {sum(map(len, documents))} bytes are too few to set any aside; "
            f"give at least {LEAST_BLOCK * len(SPLITS)} bytes of text"
        )
    held = max(1, round(HELD_OUT_SHARE * len(unique)))
    ranked = [unique[name] for name in sorted(unique)]
    val, test, train = ranked[:held], ranked[held : 2 * held], ranked[2 * held :]
    return Corpus(
        train=b"\n".join(train),
        val=b"\n".join(val),
        test=b"\n".join(test),
        digest=digest.hexdigest(),
        source=source,
    )
