"""What the wheel of the host brings along, by pyproject.toml: a package that is laid out like it needs no checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.kit.programs import ROOT

LOOK = """
import sys
from skerry_host.boards import boards_folder
from skerry_host.cli.demo import demo
recipe = next(param.default for param in demo.params if param.name == "recipe")
from skerry_host.firmware import firmware_file
from skerry_host.image.wheels.choose import lock_file
from skerry_host.systems import list_systems
for path in (*map(lock_file, ("litert", "onnx", "camera")), firmware_file("image", "first-boot.sh")):
    assert str(path).startswith(sys.path[1]), path
assert list_systems()
print(recipe, (recipe / "recipe.toml").is_file(), boards_folder(), sep="\\n")
"""


@pytest.fixture
def installed(tmp_path):
    """The packages as the wheels lay them out, below a folder of their own."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "site-packages"
    for package in (*wheel["packages"], "agent/skerry_agent"):
        shutil.copytree(ROOT / package, site / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in wheel["force-include"].items():
        shutil.copytree(ROOT / source, site / target)
    return site


def test_an_installed_host_finds_the_demo_the_boards_and_what_images_are_made_of_without_a_checkout(
    installed, tmp_path
):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    recipe, found, boards = done.stdout.splitlines()
    assert recipe.startswith(str(installed))
    assert found == "True"
    assert boards.startswith(str(installed))
