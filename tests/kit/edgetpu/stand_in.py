"""A STAND-IN for edgetpu_compiler, for tests: it compiles nothing, it replays what real compilers printed.

A plan beside it (plan.json) says for each call what to print, which files to leave in the output folder, how to end.
Every call is noted in calls.json.
"""

import json
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    plan = json.loads((HERE / "plan.json").read_text())
    notes = HERE / "calls.json"
    calls = json.loads(notes.read_text()) if notes.exists() else []
    step = plan[min(len(calls), len(plan) - 1)]
    notes.write_text(json.dumps([*calls, sys.argv[1:]]))
    sys.stdout.write(Path(step["log"]).read_text() if step.get("log") else "")
    sys.stdout.flush()
    out = Path(sys.argv[sys.argv.index("-o") + 1])
    for name, made in step.get("files", {}).items():
        shutil.copyfile(made, out / name)
    time.sleep(step.get("sleep_s", 0))
    return step.get("exit", 0)


if __name__ == "__main__":
    sys.exit(main())
