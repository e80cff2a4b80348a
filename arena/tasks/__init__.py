"""Task families. Importing this imports no torch."""

from arena.config import Addition, HFText, TaskConfig, Text
from arena.tasks.addition import AdditionTask
from arena.tasks.base import Task
from arena.tasks.countdown import Countdown, CountdownTask
from arena.tasks.dag import Dag, DagTask
from arena.tasks.dataalchemy import DataAlchemy, DataAlchemyTask
from arena.tasks.parity import Parity, ParityTask
from arena.tasks.path_star import PathStar, PathStarTask
from arena.tasks.reasoning_gym import ReasoningGym, ReasoningGymTask
from arena.tasks.sudoku import Sudoku, SudokuTask
from arena.tasks.text import TextTask

TASKS: dict[type[TaskConfig], type[Task]] = {
    Addition: AdditionTask,
    Countdown: CountdownTask,
    Dag: DagTask,
    DataAlchemy: DataAlchemyTask,
    HFText: TextTask,
    Parity: ParityTask,
    PathStar: PathStarTask,
    ReasoningGym: ReasoningGymTask,
    Sudoku: SudokuTask,
    Text: TextTask,
}
"""Every family: its configuration's class and its task's. A new one is a line here."""


def build_task(config: TaskConfig) -> Task:
    """The task of a configuration.

    Raises:
        ConfigError: its data cannot be read or is too small.
    """
    return task_class(config)(config)  # pyright: ignore[reportCallIssue]


def task_class(config: TaskConfig) -> type[Task]:
    """The class of a configuration's task: its vocabulary and symbols, without reading its data."""
    return TASKS[type(config)]


def trained_length(config: TaskConfig) -> int:
    """Most tokens of a prompt and its completion that training has seen together."""
    if isinstance(config, Text | HFText):
        return config.context + 1  # known without reading the data
    return sum(build_task(config).longest())
