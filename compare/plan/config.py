"""The root configuration, experiments, and the registration of every schema with Hydra."""

import shlex
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from arena.config import Budget, Size, TrainerConfig, require, require_choice, store_schema
from arena.tasks import TASKS
from compare.plan.families import FAMILIES
from compare.store.manifest import ONE_BY_ONE, Contrast
from compare.store.redaction import redact

# The nested parts of an experiment are not frozen: OmegaConf makes nested nodes of frozen classes
# read-only while the experiment's file is still being merged into them. A list is merged as a whole, so that
# the contrasts of a manifest serve as they are.


@dataclass(kw_only=True)
class Rung:
    """One point of compute of a study."""

    flops: float = MISSING
    """Training budget of a cell."""
    size: str = MISSING
    """Backbone at this budget, a name in conf/size; the same for every arm."""
    problems: int | None = None
    """Training problems after which a cell stops as well: arms at equal data."""
    layers: int | None = None
    """Transformer blocks instead of the size's own."""
    width: int | None = None
    """Model width instead of the size's own."""
    batch: int | None = None
    """Problems per training step instead of the task's own."""


@dataclass(kw_only=True)
class Study:
    """Cells that are compared with one another: one task, several arms and budgets."""

    task: str = MISSING
    """A name in conf/task."""
    arms: list[str] = MISSING
    """Names in conf/arm."""
    rungs: list[Rung] = MISSING
    """Budgets and the size at each."""
    overrides: list[str] = field(default_factory=list)
    """Hydra overrides for this study's cells, such as task.batch=16; only keys of task and trainer, so
    that no arm is favoured."""
    family_overrides: dict[str, list[str]] = field(default_factory=dict)
    """Overrides of keys of arm by family (ebt, rl, ...), for all its arms alike: rl: [arm.warm_until=0.3]."""


@dataclass(kw_only=True)
class Search:
    """Settings to try for every arm of an experiment, as many for each; the best are kept in conf/tuned."""

    trials: int = MISSING
    """Settings per arm; the first is the arm as its file has it. The same for an arm with one range as for
    one with three: tuning is equal in what it costs."""
    seed: int = 0
    """Seed of the draws."""
    ranges: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Ranges [low, high] by key (size.lr, or a number of the arm), under all, a family (ebt, rl, ...) or an
    arm's name; the narrower wins."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A grid of cells and the questions it is to answer."""

    name: str = MISSING
    """Folder of its report."""
    title: str = MISSING
    question: str = MISSING
    seeds: list[int] = MISSING
    """One cell per seed; every arm sees the same problems under the same seed."""
    studies: dict[str, Study] = MISSING
    axis: str = "flops"
    """What the rungs vary and loss is read against: flops, data, batch, depth, width, parameters; or isoflop,
    sizes at equal FLOPs."""
    fit_share: float = 0.0
    """First share of reinforcement learning on which the entropy law and its rivals are fitted, to forecast
    the rest; 0: no forecast, and no section on the ceiling in the report."""
    contrasts: list[Contrast] = field(default_factory=list)
    """Comparisons named before anything runs; Holm's correction runs over all of them."""
    search: Search | None = None
    """Trials of settings instead of results; evaluated with trainer.split=val."""
    tuned: bool = True
    """Whether arms get the settings that a search chose for their task and size (conf/tuned). False where
    an experiment asks about the settings of the arms' own files."""


@dataclass(frozen=True, kw_only=True)
class Logger:
    """Where training is mirrored; the record in the store is the truth."""

    name: str = MISSING
    """none, wandb, tensorboard (an extra) or csv."""
    project: str = "ebt-arena"
    """Weights & Biases project."""
    group: str = ""
    """Weights & Biases group of the runs; empty: the experiment's name."""
    mode: str = "offline"
    """offline, online or disabled."""

    def validate(self) -> None:
        require_choice("logger.name", self.name, ("none", "wandb", "tensorboard", "csv"))
        require_choice("logger.mode", self.mode, ("offline", "online", "disabled"))


@dataclass(frozen=True, kw_only=True)
class Root:
    """Everything that can be set on the command line."""

    # Groups are typed by their own schemas; a typed field here would be read-only while composing.
    arm: Any = MISSING
    task: Any = MISSING
    size: Any = MISSING
    budget: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    experiment: Any = None
    """The grid; none: the one cell that arm, task, size, budget and seed name."""
    seed: int = 0
    """Seed of a single cell."""
    runs: str = "runs"
    """The store: records, checkpoints, reports."""
    dry: bool = False
    """Print the table of cells with parameters, FLOPs and expected time, and stop."""
    retry: str = "none"
    """`failed`: run failed cells again."""
    workers: int = 0
    """Cells trained at once on this machine; 0: one per CPU core, or one in all with a GPU."""
    settings: str = "tuned"
    """Where a search leaves what it chose and everything else reads it: `tuned` is conf/tuned, beside the
    configuration; or a folder; `none`: every arm as its file has it."""
    prereg: str = "prereg"
    """Where `python -m compare freeze` writes what an experiment promises; commit it."""
    reuse: bool = False
    """Freeze seeds that were spent before; the report says so."""
    worker: int = 0
    """Any number; lets a Hydra sweep start several processes on one store (-m worker=range(8))."""

    def validate(self) -> None:
        require(self.workers >= 0, f"workers={self.workers}: must not be negative")
        require_choice("retry", self.retry, ("none", "failed"))
        self.logger.validate()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    root: Root
    """The composed configuration."""
    overrides: tuple[str, ...]
    """Overrides as given, without those of Hydra itself."""

    @property
    def name(self) -> str:
        """Name of the report: the experiment's, or `cells` for cells run one by one."""
        return self.root.experiment.name if self.root.experiment else ONE_BY_ONE

    @property
    def command(self) -> str:
        """The command line, without secrets."""
        return redact(shlex.join(["python", "-m", "compare", *self.overrides]))


def register() -> None:
    """Register every schema; calling it twice changes nothing."""
    store_schema("root_schema", Root)
    schemas: dict[str, type] = {name: family.config for name, family in FAMILIES.items()}
    schemas |= {config.kind: config for config in TASKS}
    schemas |= {"size": Size, "budget": Budget, "trainer": TrainerConfig, "logger": Logger}
    schemas["experiment"] = Experiment
    for name, schema in schemas.items():
        store_schema(name, schema, "schema")
    # Hydra copies the whole store for every look-up, more than a hundred times for --help. What it hands out
    # are copies, too, so that one store serves them all.
    store: Any = ConfigStore.instance()
    store.__deepcopy__ = lambda memo: store
