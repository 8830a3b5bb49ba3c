"""`python -m skerry_agent.runner.engines.check ENGINE [MODULE...]`: one line: a runtime works here, or why it does not.

A separate process, because a broken runtime may crash the process that loads it. Imports the modules first, which
another build of a runtime has brought. Loads no model, opens no accelerator.
"""

import importlib
import sys

from skerry_agent.runner.engines.opening import check_engine
from skerry_agent.runner.errors import EngineError


def main() -> None:
    """Ends with status 1 and the reason on standard error where it does not work."""
    for module in sys.argv[2:]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            sys.exit(f"{module} cannot be imported: {' '.join(str(error).split())}")
    try:
        print(check_engine(sys.argv[1]))  # type: ignore[arg-type]  # noqa: T201 - the answer
    except EngineError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
