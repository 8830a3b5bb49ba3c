"""What the C library keeps of large blocks that an updater has freed."""

import ctypes
import subprocess
import sys

import pytest

# mallinfo2(3): its fourth field counts the blocks that lie apart from the heap.
REUSE = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
fields = [(f"f{number}", ctypes.c_size_t) for number in range(10)]
libc.mallinfo2.restype = type("Info", (ctypes.Structure,), {"_fields_": fields})
if sys.argv[1] == "steady":
    from skerry_agent.ports.heap import give_back_blocks
    from skerry_agent.updater.room import LARGE_BLOCK_BYTES
    give_back_blocks(LARGE_BLOCK_BYTES)
libc.free(libc.malloc(1 << 20))
before = libc.mallinfo2().f3
block = libc.malloc(1 << 19)
print(libc.mallinfo2().f3 - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only newer glibc tells")
@pytest.mark.parametrize(("way", "apart"), [("steady", 1), ("as it is", 0)])
def test_a_large_block_stays_apart_from_the_heap_even_after_a_larger_one_was_freed(way, apart):
    ended = subprocess.run([sys.executable, "-c", REUSE, way], capture_output=True, text=True, check=True)
    assert int(ended.stdout) == apart
