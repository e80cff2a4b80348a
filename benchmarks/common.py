"""What benchmarks share: timing in turn, peak memory, the last line."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def seconds_in_turn(
    calls: dict[str, Callable[[], object]], runs: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each call, taken A B A B ... so that a noisy machine treats them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(runs):
        for name, call in calls.items():
            _synchronise(device)
            start = time.perf_counter()
            call()
            _synchronise(device)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors alive above what was alive before, during one call.

    On CUDA the allocator's own figure; elsewhere the running sum of the profiler's allocations.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    alive = peak = 0
    recorded = profiler.profiler
    assert recorded is not None
    assert recorded.kineto_results is not None
    # Untyped: the bindings know `nbytes`, their stubs do not.
    events: list[Any] = [e for e in recorded.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def device_in_use() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def commit() -> str:
    """Short hash of the checkout, with + for uncommitted changes; `unknown` outside of one."""
    here = Path(__file__).resolve().parent
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip()


def last_line(name: str, device: torch.device, **figures: Any) -> None:
    """Print the figures as one JSON object."""
    described = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    )
    print(json.dumps({"name": name, "device": described, "commit": commit(), **figures}))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
