"""How much memory there is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def fits(size: int) -> bool:
    """Say whether this many bytes can be held in memory, with as much again left for the work."""
    return 2 * size <= available_memory()


def available_memory() -> int:
    """Return how many bytes this process may still take: of the machine, its groups and its limits."""
    bounds = [sys.maxsize]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        bounds.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    with contextlib.suppress(OSError, ValueError):
        for limit, used in control_groups(Path("/proc/self/cgroup").read_text(encoding="utf-8")):
            with contextlib.suppress(OSError, ValueError):  # "max", or a group that this process cannot see
                bounds.append(int(limit.read_text()) - int(used.read_text()))
    if resource is not None:
        for kind, column in ((resource.RLIMIT_DATA, 5), (resource.RLIMIT_AS, 0)):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                with contextlib.suppress(OSError, ValueError):
                    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[column])
                    bounds.append(soft - pages * resource.getpagesize())
    return max(0, min(bounds))


def control_groups(text: str, root: Path = Path("/sys/fs/cgroup")) -> Iterator[tuple[Path, Path]]:
    """Yield the files of the limit and the use of each memory group that holds a process, the inner first.

    Args:
        text: of ``/proc/<pid>/cgroup``: lines of ``number:controllers:path``.
        root: where the groups are mounted. Version 2 has all controllers in one tree and names none;
            version 1 has a tree for each.
    """
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        tree = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = names if controllers else ("memory.max", "memory.current")
        inner = PurePosixPath(path.lstrip("/"))
        for group in (inner, *inner.parents):
            yield tree / group / limit, tree / group / used
