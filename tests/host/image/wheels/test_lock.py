"""Reading locks, and the locks of boards: they hold for every machine and Python that an image is made for."""

import pytest
from packaging.requirements import Requirement

from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.choose import IMPORTS, lock_file
from skerry_host.image.wheels.lock import Pin, canonical, merged, read_lock
from tests.kit.programs import ROOT

A, B = "a" * 64, "b" * 64
LOCKS = sorted((ROOT / "requirements" / "boards").glob("*.txt"))


def test_a_lock_is_versions_with_the_hashes_of_their_files():
    pin = "ai_edge.litert==2.3.0 ; python_version < '3.14'"
    text = f"# made by\n{pin} \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
    assert read_lock(text) == {"ai-edge-litert": Pin("ai-edge-litert", "2.3.0", frozenset({A, B}))}


@pytest.mark.parametrize("line", ["numpy", "numpy==2.4", f"numpy>=2 --hash=sha256:{A}", "https://x/numpy.whl"])
def test_a_line_without_version_or_hash_is_refused(line):
    with pytest.raises(WheelError, match="without version or hash"):
        read_lock(line)


def test_locks_that_do_not_agree_are_refused():
    one, other = Pin("numpy", "1.26.4", frozenset({A})), Pin("numpy", "2.4.6", frozenset({B}))
    with pytest.raises(WheelError, match=r"numpy is locked as 1\.26\.4 and as 2\.4\.6"):
        merged([{"numpy": one}, {"numpy": other}])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_boards_lock_is_a_part_of_what_ci_tests_and_has_the_pip_that_installs_it(path):
    found = read_lock(path.read_text("utf-8"))
    dev, coral = (read_lock((ROOT / "requirements" / f"{name}.txt").read_text("utf-8")) for name in ("dev", "coral"))
    tested = dev | coral if path.stem == "coral" else dev  # an environment of its own
    assert {name: pin.version for name, pin in found.items()} == {name: tested[name].version for name in found}
    assert "pip" in found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_no_marker_of_a_boards_lock_leaves_a_package_out(path, machine, python):
    """They are not evaluated."""
    here = {
        "sys_platform": "linux", "platform_machine": machine, "python_version": python,
        "python_full_version": f"{python}.2", "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }  # fmt: skip
    for line in path.read_text("utf-8").splitlines():
        if line[:1].isalpha():
            marker = Requirement(line.rstrip("\\ ")).marker
            assert marker is None or marker.evaluate(here), line


def test_every_extra_with_machine_code_has_a_lock():
    assert {path.stem for path in LOCKS} >= set(IMPORTS)
    with pytest.raises(WheelError, match="no lock for the extra nothing"):
        lock_file("nothing")


@pytest.mark.parametrize(("name", "same"), [("Foo_Bar.baz", "foo-bar-baz"), ("a--b", "a-b"), ("PyYAML", "pyyaml")])
def test_names_are_compared_as_indexes_do(name, same):
    assert canonical(name) == same
