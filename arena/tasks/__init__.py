"""Task families. Importing this imports no torch."""

from arena.config import Addition, HFText, TaskConfig, Text
from arena.tasks.base import Task

TASK_CONFIGS: tuple[type, ...] = (Addition, Text, HFText)


def build_task(config: TaskConfig) -> Task:
    """The task of a configuration.

    Raises:
        ConfigError: its data cannot be read or is too small.
    """
    if isinstance(config, Addition):
        from arena.tasks.addition import AdditionTask

        return AdditionTask(config)
    from arena.tasks.text import TextTask

    return TextTask(config)
