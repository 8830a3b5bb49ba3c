"""What a board has free, from files as its kernel writes them."""

import pytest

from skerry_agent.patch import MAX_EXTRA_BYTES
from skerry_agent.updater.room import MEMORY_RESERVE_BYTES, Room
from tests.kit.updater import board

MIB = 1 << 20
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
LIMIT_V1, USED_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes"
STAT = f"inactive_file {MIB}\nactive_file {2 * MIB}\nslab_reclaimable {MIB}\nslab 9\n"
CASES = {
    "nothing is known": ({}, None),
    "the kernel's word": ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"}, 2 * MIB),
    "what is used by others may be swapped out": (
        {"proc/meminfo": "MemAvailable:    2048 kB\nSwapTotal: 9 kB\nSwapFree:   1024 kB\n"},
        3 * MIB,
    ),
    "no limit": (
        {"proc/meminfo": "MemAvailable: 2048 kB\n", "proc/self/cgroup": "0::/a\n", f"{V2}/a/memory.max": "max\n"},
        2 * MIB,
    ),
    "a group's limit, less what it cannot drop": (
        {
            "proc/meminfo": "MemAvailable: 999999 kB\n",
            "proc/self/cgroup": "0::/a/b\n",
            f"{V2}/a/b/memory.max": f"{64 * MIB}\n",
            f"{V2}/a/b/memory.current": f"{60 * MIB}\n",
            f"{V2}/a/b/memory.stat": STAT,
        },
        8 * MIB,
    ),
    "the limit of a group above": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            f"{V2}/a/b/memory.max": "max\n",
            f"{V2}/a/memory.max": f"{9 * MIB}\n",
            f"{V2}/a/memory.current": f"{8 * MIB}\n",
        },
        MIB,
    ),
    "version 1, of which a group counts those below it": (
        {
            "proc/self/cgroup": "8:pids:/\n4:cpu,memory:/a\n",
            f"{V1}/a/{LIMIT_V1}": f"{9 * MIB}\n",
            f"{V1}/a/{USED_V1}": f"{8 * MIB}\n",
            f"{V1}/a/memory.stat": f"inactive_file 5\ntotal_inactive_file {MIB}\ntotal_active_file 0\n",
        },
        2 * MIB,
    ),
    "a container, which sees its own group as the root": (
        {
            "proc/self/cgroup": "4:memory:/docker/1f\n",
            f"{V1}/{LIMIT_V1}": f"{9 * MIB}\n",
            f"{V1}/{USED_V1}": f"{8 * MIB}\n",
        },
        MIB,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_free_memory(case, tmp_path):
    files, expected = CASES[case]
    assert board(tmp_path, files).free_memory_bytes() == expected


def test_what_is_lacking_is_one_line_with_a_remedy(tmp_path):
    needed = MAX_EXTRA_BYTES + MEMORY_RESERVE_BYTES
    said = board(tmp_path, {"proc/meminfo": f"MemAvailable: {needed // 1024} kB\n"}).lacks_memory()
    assert said == (
        f"a patch takes {needed} B of memory, {needed // 1024 * 1024} B are free; stop something, or raise MemoryMax"
    )
    assert board(tmp_path, {"proc/meminfo": f"MemAvailable: {needed // 1024 + 1} kB\n"}).lacks_memory() is None
    assert board(tmp_path, {"proc/meminfo": ""}).lacks_memory() is None


def test_this_machine_tells_what_it_has():
    assert (Room().free_memory_bytes() or 0) > 0
