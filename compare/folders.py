"""Where the program's own files lie."""

from pathlib import Path


def conf_folder() -> Path:
    """The folder of YAML files: beside the packages in a checkout, inside `compare` in a wheel."""
    here = Path(__file__).resolve().parent
    beside = here.parent / "conf"
    return beside if (beside / "config.yaml").is_file() else here / "conf"
