"""The ladder: the efforts that an arm's configuration asks for beside the arm's default one."""

from collections.abc import Collection, Sequence

from arena.config import require
from arena.effort import Effort


def check_ladder(ladder: Sequence[str], forms: Collection[str], remedy: str) -> None:
    """Raise ConfigError unless every entry of `arm.ladder` is an effort of the arm, listed once.

    Args:
        forms: of the arm's efforts, such as think_K.
        remedy: what to write instead, such as "write think_8 for 8 steps".
    """
    efforts: list[Effort] = []
    for name in ladder:
        effort = Effort.match(name)
        if effort is None or effort.form not in forms:
            require(False, f"arm.ladder={list(ladder)}: {name} is no effort; {remedy}")
        else:
            efforts.append(effort)
    require(
        len(set(efforts)) == len(efforts),
        f"arm.ladder={list(ladder)}: an effort stands there twice; name each once",
    )


def with_default(ladder: Sequence[str], default: Effort) -> tuple[str, ...]:
    """Names of the efforts to evaluate: the ladder's, and the default once, as the last."""
    return (*(name for name in ladder if name != str(default)), str(default))
