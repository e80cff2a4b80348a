"""A task's symbols as single tokens of a model's own tokenizer. No torch here.

Three spellings of a symbol are known: the symbol itself, the stand-in characters of byte-level
vocabularies (as GPT-2's), and those of SentencePiece (the low line for a space, `<0x0A>` for a byte).
A spelling counts only if the tokenizer reads it back as the symbol.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from arena.config import ConfigError
from arena.tasks.base import Task
from rl_baseline.pretrained import describe, file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES = "".join(map(chr, range(256)))
"""The symbols of a task whose token ids are bytes."""
INCOMPLETE = "�"
"""What a byte that is no character of its own is read back as."""
OTHER_TOKENIZERS = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
SHOWN = 8
"""Missing symbols named in an error."""


def task_tokens(pretrained: str, revision: str | None, task: Task) -> list[int]:
    """The model's token id for each of the task's token ids.

    A model that comes without any tokenizer is taken to speak the task's own ids.

    Raises:
        ConfigError: the tokenizer lacks some of the symbols, or cannot be read.
    """
    path = file(pretrained, revision, "tokenizer.json")
    if path is None:
        return _own_ids(pretrained, revision, task)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    of_bytes = task.symbols == BYTES
    found: list[int | None] = []
    for symbol in task.symbols:
        spellings, meaning = _byte_spellings(ord(symbol)) if of_bytes else _symbol_spellings(symbol)
        ids = (vocabulary[s] for s in spellings if s in vocabulary)
        found.append(next((i for i in ids if _reads_as(tokenizer, i, meaning)), None))
    missing = [s for s, i in zip(task.symbols, found, strict=True) if i is None]
    if missing and of_bytes:
        raise ConfigError(
            f"arm.pretrained={pretrained}: its tokenizer has no byte tokens ({len(missing)} of 256 bytes are "
            "missing), which a task on bytes needs; choose a byte-level model, or task=addition"
        )
    if missing:
        named = " ".join(map(repr, missing[:SHOWN])) + (" ..." if len(missing) > SHOWN else "")
        raise ConfigError(
            f"arm.pretrained={pretrained}: its tokenizer has no single token for {named}; choose a model "
            "whose vocabulary has them, or add them to its tokenizer and embeddings"
        )
    return [i for i in found if i is not None]


def _own_ids(pretrained: str, revision: str | None, task: Task) -> list[int]:
    other = next((n for n in OTHER_TOKENIZERS if file(pretrained, revision, n) is not None), None)
    if other is not None:
        raise ConfigError(
            f"arm.pretrained={pretrained}: has {other} but no tokenizer.json; write one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    held = describe(pretrained, revision).vocabulary
    if held < task.vocabulary:
        raise ConfigError(
            f"arm.pretrained={pretrained}: no tokenizer, and {held} token ids where the task has "
            f"{task.vocabulary}; put its tokenizer beside it, or choose a larger vocabulary"
        )
    return list(range(task.vocabulary))


def _byte_spellings(byte: int) -> tuple[list[str], str]:
    """Spellings of a byte, the likeliest first, and what it is read back as."""
    if byte < 128:
        return _symbol_spellings(chr(byte))
    return [stand_in(byte), _hexadecimal(byte)], INCOMPLETE


def _symbol_spellings(symbol: str) -> tuple[list[str], str]:
    """Spellings of a character, likewise."""
    encoded = symbol.encode()
    spellings = [symbol, "".join(map(stand_in, encoded)), "".join(map(_hexadecimal, encoded))]
    return (["▁", *spellings] if symbol == " " else spellings), symbol


def _hexadecimal(byte: int) -> str:
    return f"<0x{byte:02X}>"


def stand_in(byte: int) -> str:
    """The printable character that byte-level vocabularies write for a byte.

    Latin-1's visible characters stand for themselves, the others follow one another from U+0100.
    """
    return chr(byte) if _visible(byte) else chr(0x100 + sum(not _visible(b) for b in range(byte)))


def _visible(byte: int) -> bool:
    return 0x21 <= byte <= 0x7E or (byte >= 0xA1 and byte != 0xAD)


def _reads_as(tokenizer: "Tokenizer", token: int, meaning: str) -> bool:
    """Whether the token means the symbol, inside a text: some decoders drop a space at the start."""
    once, twice = (_read(tokenizer, [token] * n) for n in (1, 2))
    rest = twice[len(once) :]
    # Vocabularies of words join tokens by spaces; the token itself is still the symbol's.
    return rest == meaning or (meaning != " " and rest.strip(" ") == meaning)


def _read(tokenizer: "Tokenizer", tokens: Iterable[int]) -> str:
    return tokenizer.decode(list(tokens), skip_special_tokens=False)
