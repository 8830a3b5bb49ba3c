"""`python -m tests.fuzz [READER...] [--count N]`: gives damaged bytes to every reader of bytes from outside.

A reader must read a mutant or refuse it with an error of its own kind, in bounded time and memory. Prints one line of
JSON for each reader, saves the mutants that did otherwise, and exits with 1 if there are any. `--one READER NUMBER`
gives a single mutant to its reader in this process, with the whole traceback.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.fuzz.mutate import mutant
from tests.fuzz.readers import BY_NAME, READERS
from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", choices=[*BY_NAME, []], help="all unless some are named")
    parser.add_argument("--count", type=int, default=200_000, help="mutants of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--out", type=Path, help="where mutants are saved")
    parser.add_argument("--one", nargs=2, metavar=("READER", "NUMBER"))
    chosen = parser.parse_args()
    if chosen.one:
        return one(chosen.one[0], int(chosen.one[1]))
    out = chosen.out or Path(tempfile.mkdtemp(prefix="skerry-fuzz-found-"))
    failed = False
    for name in chosen.readers or [reader.name for reader in READERS]:
        found = fuzz(name, range(chosen.first, chosen.first + chosen.count), out)
        failed = failed or bool(found.failures)
        print(json.dumps(found.summary()), flush=True)
        for failure in found.failures[:10]:
            print(f"  {failure}", file=sys.stderr, flush=True)
    return int(failed)


def one(name: str, number: int) -> int:
    reader = BY_NAME[name]
    raw = mutant(name, number, reader.seeds(), reader.tokens)
    print(f"{len(raw)} bytes: {raw[:400]!r}")
    try:
        reader.open()(raw)
    except reader.refuses as error:
        print(f"refused: {type(error).__name__}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
