"""The memory of the running process."""

from pathlib import Path


def resident_memory() -> float:
    """Return how many MB this process has in memory, 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000
