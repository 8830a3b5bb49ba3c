"""Damaged patches: refused with a reason, or harmless. `make sweep` runs a million; here a sample."""

import json
import subprocess
import sys

MUTANTS = 26_000  # in each of two processes, one a core
MEMORY_LIMIT = 64_000_000


def test_a_sample_of_mutants() -> None:
    command = [sys.executable, "-m", "tests.agent.patch.mutate", "--count", str(MUTANTS), "--seed"]
    runs = [subprocess.Popen([*command, seed], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for seed in ("1", "2")]
    for run in runs:
        out, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors.decode()[-2000:]
        found = json.loads(out)
        assert found["grown_bytes"] < MEMORY_LIMIT
        assert found["slowest_seconds"] < 20
        assert found["fates"]["wrong_result"] > 100, "mutants no longer reach the end"
