"""How much memory there is."""

from pathlib import Path

import pytest

from sit2.data.memory import available_memory, control_groups, fits


def files(text: str) -> list[str]:
    return [str(limit) for limit, _ in control_groups(text, Path("/c"))]


def test_a_process_is_in_every_group_up_to_the_root():
    assert files("0::/user.slice/run-7.scope\n") == [
        "/c/user.slice/run-7.scope/memory.max",
        "/c/user.slice/memory.max",
        "/c/memory.max",
    ]


def test_version_1_has_a_tree_for_memory():
    text = "9:name=systemd:/a\n4:cpu,memory:/jobs\n3:pids:/b\n"
    assert files(text) == ["/c/memory/jobs/memory.limit_in_bytes", "/c/memory/memory.limit_in_bytes"]


def test_a_limit_of_the_process_counts():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000, before[1]))
        left = available_memory()
        assert 90_000_000 < left <= 100_000_000
        assert fits(40_000_000)
        assert not fits(60_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
