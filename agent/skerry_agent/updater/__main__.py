"""`python -m skerry_agent.updater TRUST_FILE STATE_FOLDER SUPERVISOR_PID`: started by the supervisor, not by a person.

Reads one job as a JSON line and writes one answer.
"""

import sys
import traceback
from pathlib import Path

from skerry_agent.ports.heap import give_back_blocks
from skerry_agent.ports.jobs import MAX_LINE_BYTES, Refusal, UpdaterJob
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.trust.key_file import TrustError
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from skerry_agent.updater.room import LARGE_BLOCK_BYTES
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError


def main() -> None:
    """One job in, one answer out. Ends with its supervisor: two updaters must never work on one folder."""
    die_with_parent(int(sys.argv[3]))
    give_back_blocks(LARGE_BLOCK_BYTES)
    try:
        job: UpdaterJob = codec.decode(sys.stdin.buffer.readline(), UpdaterJob, MAX_LINE_BYTES)  # type: ignore[arg-type]
        answer = perform(job, KeyTrust.from_file(Path(sys.argv[1]), Path(sys.argv[2])))
    except (TrustError, WireError) as error:
        answer = Refusal("rejected", error.code, str(error))
    except Exception as error:  # noqa: BLE001 - the host shall learn of a defect, not only that the process died
        answer = Refusal("failed", "updater_error", f"{type(error).__name__} in {_where(error)}: {error}")
    sys.stdout.buffer.write(codec.encode(answer) + b"\n")


def _where(error: Exception) -> str:
    """The file and line that raised it: what a traceback would end with."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


if __name__ == "__main__":
    main()
