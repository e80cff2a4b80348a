"""`python -m tests.cluster joblib|slurm|ray [WORKERS]`: a study on a real cluster; is it the same?

Runs the smoke study by one process, then by WORKERS (8) jobs of Hydra's launcher for the cluster, which is
started on this machine and torn down, and compares every record. Prints one JSON object; exit status 1 if a
record differs, 2 if there can be no such cluster here.
"""

import json
import sys

from tests.cluster.engines import ENGINES
from tests.cluster.same import run_both


def main(name: str, workers: int = 8) -> int:
    """Run, compare, print; the exit status."""
    reason = ENGINES[name].missing()
    if reason:
        print(f"{name}: {reason}", file=sys.stderr)
        return 2
    result = {"name": name, **run_both(ENGINES[name], workers)}
    print(json.dumps(result))
    return int(bool(result["differing"]))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in ENGINES:
        sys.exit(str(__doc__))
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
