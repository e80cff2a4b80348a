"""Configuration of a cell: frozen dataclasses, checked once, and their Hydra registration.

A cell is arm x task x size x budget x seed. The classes here describe everything but the arm,
which each contender describes in its own `config.py`.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf


class ConfigError(ValueError):
    """A setting cannot be used. The message is one line: which key, which value, what to do."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    names = list(choices)
    require(value in names, f"{key}={value}: choose one of {', '.join(names)}")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Shape of the backbone, the same for every arm."""

    name: str = MISSING
    """Label in tables and records."""
    layers: int = MISSING
    """Transformer blocks."""
    heads: int = MISSING
    """Attention heads; width / heads must be even (rotary pairs)."""
    width: int = MISSING
    """Model width."""
    lr: float = MISSING
    """Peak learning rate of AdamW. Source: the EBT paper's table of sizes, extrapolated below 4xs."""
    mlp_multiple: float = 2.6666666666666665
    """SwiGLU hidden width over model width, rounded up to a multiple of 8 (Shazeer 2020: 8/3)."""

    @property
    def hidden(self) -> int:
        """SwiGLU hidden width."""
        return -(-round(self.width * self.mlp_multiple) // 8) * 8

    def validate(self) -> None:
        for key in ("layers", "heads", "width"):
            value = getattr(self, key)
            require(value >= 1, f"size.{key}={value}: must be at least 1")
        require(
            self.width % (2 * self.heads) == 0,
            f"size.heads={self.heads}: width {self.width} must be a multiple of 2 * heads "
            "(rotary embedding turns pairs); change size.heads or size.width",
        )
        require(self.lr > 0, f"size.lr={self.lr}: must be positive")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What every task has. A family's own class may stand beside its task, in arena/tasks."""

    verifiable: ClassVar[bool] = True
    """Whether the verifier's word is a meaningful reward and exact match a meaningful metric."""

    kind: str = MISSING
    """Task family."""
    name: str = MISSING
    """Label in tables and records."""
    batch: int = 128
    """Problems (windows, for text) per training step."""

    def validate(self) -> None:
        require(self.batch >= 1, f"task.batch={self.batch}: must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Addition(TaskConfig):
    """a+b with the digits reversed; the number of digits is the axis of shift."""

    kind: str = "addition"
    min_digits: int = 3
    """Fewest digits of an operand in training."""
    max_digits: int = 4
    """Most digits of an operand in training; severity s tests exactly max_digits + s."""
    chain: bool = False
    """Whether the carries are written out (and supervised) before the sum."""

    def validate(self) -> None:
        super().validate()
        require(
            1 <= self.min_digits <= self.max_digits <= 64,
            f"task.min_digits={self.min_digits}, task.max_digits={self.max_digits}: "
            "need 1 <= min_digits <= max_digits <= 64",
        )
        require(
            self.max_digits >= 2,
            f"task.max_digits={self.max_digits}: use at least 2, one digit leaves nothing to hold out",
        )


@dataclass(frozen=True, kw_only=True)
class Text(TaskConfig):
    """Next-byte prediction on local files; the default is what every Python installation carries."""

    verifiable: ClassVar[bool] = False

    kind: str = "text"
    path: str | None = None
    """A file or folder of your own; none: the standard library's sources."""
    context: int = 64
    """Predicted bytes a window."""
    batch: int = 32

    def validate(self) -> None:
        super().validate()
        require(self.context >= 2, f"task.context={self.context}: must be at least 2")


@dataclass(frozen=True, kw_only=True)
class HFText(TaskConfig):
    """Next-byte prediction on a corpus streamed from the Hugging Face hub (extra `datasets`)."""

    verifiable: ClassVar[bool] = False

    kind: str = "hf_text"
    dataset: str = MISSING
    """Hub name, or a loader such as `text` together with data_files."""
    subset: str | None = None
    """Configuration name of the dataset."""
    revision: str | None = None
    """Commit of the dataset; fix it, or two runs may see different corpora."""
    data_files: str | None = None
    """Local file pattern for the loaders `text`, `json`, `csv`."""
    split: str = "train"
    """Split to stream; held-out documents are set aside from it by content hash."""
    column: str = "text"
    """Column that holds the text."""
    documents: int = 2000
    """Documents to read from the stream."""
    context: int = 64
    """Predicted bytes a window."""
    batch: int = 32

    def validate(self) -> None:
        super().validate()
        require(self.documents >= 3, f"task.documents={self.documents}: need at least 3 to split")
        require(self.context >= 2, f"task.context={self.context}: must be at least 2")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Training compute of a cell."""

    flops: float = MISSING
    """Counted training FLOPs; a cell stops before the step that would exceed it."""
    problems: int | None = None
    """Training problems after which a cell stops as well, so that arms can be compared at equal data;
    `flops` remains the bound. None: compute alone decides."""

    def validate(self) -> None:
        require(self.flops > 0, f"budget.flops={self.flops}: must be positive")
        require(
            self.problems is None or self.problems >= 1,
            f"budget.problems={self.problems}: at least 1; null leaves it to budget.flops",
        )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How a cell is trained and evaluated; the same for every arm."""

    accelerator: str = "auto"
    """Lightning accelerator: auto, cpu, cuda, mps."""
    devices: int = 1
    """Processes that train a cell together, each on a GPU of its own, or on CPU cores of its own; each
    computes its share of every batch. The result is that of one process, to rounding."""
    precision: str = "auto"
    """auto: fp32 on CPU and MPS, bf16-mixed on CUDA; or any Lightning precision."""
    threads: int = 1
    """CPU threads per process; small cells run best one to a core."""
    warmup: float = 0.05
    """Share of the budget over which the learning rate rises."""
    lr_end: float = 0.1
    """Last learning rate over the peak, reached by a cosine (EBT paper: peak / 10)."""
    weight_decay: float = 0.01
    """AdamW weight decay (EBT paper)."""
    clip: float = 1.0
    """Gradient norm clip (EBT paper)."""
    split: str = "test"
    """Held-out split of the evaluations: test for results, val to choose settings by."""
    problems: int = 512
    """Held-out problems (or windows) an evaluation; fewer where a split holds fewer distinct ones."""
    severities: int = 2
    """Severities evaluated at the end on each axis of shift, from 0 (in distribution) up."""
    history: int = 200
    """Points of training history kept in the record."""
    pool: int | None = None
    """Distinct training problems, seen epoch after epoch in a new order each time; none: every problem is
    seen once."""
    compile: bool = False
    """Compile a training step's descent (torch.compile; on the CPU it needs a C++ compiler). For the
    energy-based arms; the others have nothing of the kind."""
    at_once: int | None = None
    """Most positions of a sequence whose descents' graphs are alive at a time, in training the
    energy-based arms: less memory, the same gradient. None: all of them."""
    checkpoint_minutes: float = 3.0
    """Minutes between two snapshots of a running cell; 0: after every step."""

    def validate(self) -> None:
        require_choice("trainer.accelerator", self.accelerator, ("auto", "cpu", "cuda", "mps"))
        require(
            self.at_once is None or self.at_once >= 1,
            f"trainer.at_once={self.at_once}: must be at least 1, or null for all positions",
        )
        require(self.devices >= 1, f"trainer.devices={self.devices}: must be at least 1")
        require(
            self.devices == 1 or self.accelerator != "mps",
            f"trainer.devices={self.devices} with trainer.accelerator=mps: there is one such device; set "
            "trainer.devices=1, or trainer.accelerator=cpu",
        )
        require(self.threads >= 1, f"trainer.threads={self.threads}: must be at least 1")
        require(0 <= self.warmup < 1, f"trainer.warmup={self.warmup}: a share, 0 <= warmup < 1")
        require(0 <= self.lr_end <= 1, f"trainer.lr_end={self.lr_end}: a share, between 0 and 1")
        require(self.clip > 0, f"trainer.clip={self.clip}: must be positive")
        require_choice("trainer.split", self.split, ("test", "val"))
        require(self.problems >= 1, f"trainer.problems={self.problems}: must be at least 1")
        require(self.severities >= 1, f"trainer.severities={self.severities}: must be at least 1")
        require(self.history >= 2, f"trainer.history={self.history}: must be at least 2")
        require(
            self.pool is None or self.pool >= 1,
            f"trainer.pool={self.pool}: at least 1 problem; null draws new ones without end",
        )
        require(
            self.checkpoint_minutes >= 0,
            f"trainer.checkpoint_minutes={self.checkpoint_minutes}: must not be negative",
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run, fully resolved. `arm` is a contender's own dataclass with kind and name."""

    arm: Any
    task: TaskConfig
    size: Size
    budget: Budget
    trainer: TrainerConfig
    seed: int

    def validate(self) -> None:
        """Raise ConfigError if any part, or the parts together, cannot be used."""
        for part in (self.arm, self.task, self.size, self.budget, self.trainer):
            part.validate()
        require(0 <= self.seed < 2**31, f"seed={self.seed}: must lie in [0, 2^31)")
        require(
            self.task.batch % self.trainer.devices == 0,
            f"task.batch={self.task.batch} with trainer.devices={self.trainer.devices}: each device computes "
            "an equal share of a batch; choose a batch that the devices divide",
        )


def store_schema(name: str, schema: type, group: str | None = None) -> None:
    """Register a frozen dataclass as a Hydra schema.

    OmegaConf marks nodes of frozen classes read-only, which Hydra's own merging trips over; the flag
    is lifted while composing and `OmegaConf.to_object` builds the frozen instance at the end.
    """
    node: DictConfig = OmegaConf.structured(schema)
    OmegaConf.set_readonly(node, False)
    ConfigStore.instance().store(name=name, node=node, group=group)


def asdict(config: Any) -> dict[str, Any]:
    """Plain dictionary of a configuration dataclass."""
    return dataclasses.asdict(config)
