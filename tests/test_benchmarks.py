"""What `make bench` writes: misses first, what was not run, what ended before its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
FINISH = "from goals import Goal, finish; finish({!r}, [Goal('size', {}, 2, 'MB', peer='bsdiff 3 MB')])"
SKIP = "from goals import skip; skip('absent', 'no broker')"


def run(folder: Path, program: str) -> int:
    environment = {"PYTHONPATH": str(BENCHMARKS), "SKERRY_BENCH_OUT": str(folder)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False).returncode


def written(folder: Path, *programs: str) -> tuple[int, str]:
    command = [sys.executable, str(BENCHMARKS / "report.py"), str(folder), str(folder / "page.md"), *programs]
    return subprocess.run(command, check=False).returncode, (folder / "page.md").read_text("utf-8")


def test_misses_come_first_and_make_it_fail(tmp_path: Path):
    codes = [run(tmp_path, FINISH.format(name, size)) for name, size in (("a", 1), ("b", 3))]
    assert (codes, run(tmp_path, SKIP)) == ([0, 1], 0)
    code, page = written(tmp_path, "benchmarks/a.py", "benchmarks/b.py", "benchmarks/absent.py", "benchmarks/dead.py")
    assert code == 1
    assert "| b | size | **3 MB** | <= 2 MB | bsdiff 3 MB |" in page
    assert page.index("Missed: 1 of 2") < page.index("| b | size") < page.index("Met: 1") < page.index("| a | size")
    assert "Ended before their figures: `dead`." in page
    assert "- **absent**: no broker" in page


@pytest.mark.parametrize(("programs", "code"), [((), 0), (("benchmarks/dead.py",), 1)])
def test_all_met_is_success_only_if_all_ran(tmp_path: Path, programs: tuple[str, ...], code: int):
    run(tmp_path, FINISH.format("a", 1))
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["load"]["cores"] >= 1
    assert written(tmp_path, "benchmarks/a.py", *programs)[0] == code
