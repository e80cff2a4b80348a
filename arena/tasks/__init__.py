"""Task families. Importing this imports no torch."""

from arena.config import Addition, HFText, TaskConfig, Text
from arena.tasks.base import Task

TASK_CONFIGS: tuple[type, ...] = (Addition, Text, HFText)


def build_task(config: TaskConfig) -> Task:
    """The task of a configuration.

    Raises:
        ConfigError: its data cannot be read or is too small.
    """
    return task_class(config)(config)  # pyright: ignore[reportCallIssue]


def task_class(config: TaskConfig) -> type[Task]:
    """The class of a configuration's task: its vocabulary and symbols, without reading its data."""
    if isinstance(config, Addition):
        from arena.tasks.addition import AdditionTask

        return AdditionTask
    from arena.tasks.text import TextTask

    return TextTask


def trained_length(config: TaskConfig) -> int:
    """Most tokens of a prompt and its completion that training has seen together."""
    if isinstance(config, Addition):
        return sum(build_task(config).longest())
    return config.context + 1
