"""The energy-based arms of conf/arm, as the configuration gives them."""

from collections.abc import Callable

import pytest
from omegaconf import OmegaConf

from compare.folders import conf_folder
from ebt.config import EBTArm


def energy_arms() -> list[str]:
    """Names of the arms of the family `ebt`."""
    files = sorted((conf_folder() / "arm").glob("*.yaml"))
    return [f.stem for f in files if "/schema/ebt@" in f.read_text(encoding="utf-8")]


@pytest.fixture
def arm_of() -> Callable[..., EBTArm]:
    """arm_of(name, **overrides): what conf/arm/NAME.yaml describes."""

    def build(name: str, **overrides: object) -> EBTArm:
        own = OmegaConf.load(conf_folder() / "arm" / f"{name}.yaml")
        assert OmegaConf.is_dict(own)
        settings = {str(k): own[k] for k in own if k != "defaults"}
        arm = EBTArm(**{**settings, **overrides})  # pyright: ignore[reportArgumentType]
        arm.validate()
        return arm

    return build
