"""`python -m skerry_agent.runner.engines.check ENGINE`: prints one line: that a runtime works here, or why it does not.

A separate process, because a broken runtime may crash the process that loads it. Loads no model, opens no accelerator.
"""

import sys

from skerry_agent.runner.engines.opening import check_engine
from skerry_agent.runner.errors import EngineError

if __name__ == "__main__":
    try:
        print(check_engine(sys.argv[1]))  # type: ignore[arg-type]  # noqa: T201 - the answer
    except EngineError as error:
        sys.exit(str(error))
