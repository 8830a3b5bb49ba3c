"""Milliseconds of one inference of a model file on one core of this machine: the median of many. Prints the number."""

import sys
from pathlib import Path

from skerry_host.builder.runtime.latency import measure

if __name__ == "__main__":
    print(measure(Path(sys.argv[1]).read_bytes()).p50_us / 1000)
