"""`skerry device provision` and `claim` with image folders: all that a board needs, or a line and nothing at all."""

import hashlib
import json
import os
import resource
import stat
import subprocess
import sys

import msgspec
import pytest

from skerry_agent.config import load
from skerry_host.image.describe import ImageDescription
from tests.kit.cards import card, extracted
from tests.kit.commands import skerry
from tests.kit.home import make_home
from tests.kit.real_wheels import PYTHON, nowhere, reached, system_here, with_wheels

CLAIM = {"agent.toml", "claim.key", "claim.pem", "fleet-ca.pem", "trust.json"}
BESIDE = {
    "SHA256SUMS", "first-boot.sh", "image.env", "image.json", "meta-data", "network-config", "steps.html", "user-data",
    "vendor-data", "system", "wheels",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("images") / "home")
    skerry(made, "init")
    return with_wheels(made)


@pytest.fixture(scope="module")
def system():
    return ("--os", system_here().name)


def device(home, *words, check=True):
    return skerry(home, "device", *words, check=check)


def listed(home):
    return [json.loads(device(home, what, "--json").stdout) for what in ("list", "claims")]


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def board():
    return "generic-x86" if os.uname().machine == "x86_64" else "raspberry-pi-4"


def test_one_board_gets_all_that_it_needs_and_the_agent_reads_it_where_it_lies(home, system, tmp_path):
    out = tmp_path / "image"
    said = device(home, "provision", "edge-1", "--board", board(), *system, "--out", str(out)).stdout
    assert f"sh {out.name}/first-boot.sh" in said
    assert set(modes(out)) == CLAIM | BESIDE
    assert {name: modes(out)[name] for name in ("claim.key", "agent.toml", "first-boot.sh")} == {
        "claim.key": 0o600, "agent.toml": 0o600, "first-boot.sh": 0o755,
    }  # fmt: skip
    config = load(out / "agent.toml")
    assert (config.device.id, config.agent.state_dir) == ("edge-1", "state")
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert done.returncode == 0
    summed = {line.split("  ", 1)[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert summed | {"SHA256SUMS"} == {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}


def test_image_json_says_what_is_in_it(home, system, tmp_path):
    out = tmp_path / "image"
    device(home, "provision", "edge-2", "--board", board(), *system, "--out", str(out))
    found = msgspec.json.decode((out / "image.json").read_bytes(), type=ImageDescription)
    assert (found.device, found.pythons, found.systems) == ("edge-2", (PYTHON,), (system[1],))
    files = [path for path in out.rglob("*") if path.is_file()]
    assert found.files == len(files)
    assert {"skerry-agent", "pip", "ai-edge-litert", "numpy"} <= set(found.distributions)
    assert f"numpy-{found.distributions['numpy']}-cp" in " ".join(reached(out))
    page = (out / "steps.html").read_text()
    assert "edge-2" in page
    assert "None" not in page
    pins = (out / "wheels" / "requirements.txt").read_text()
    for wheel in (out / "wheels").glob("*.whl"):
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() in pins


def test_fifty_boards_get_one_folder(home, system, tmp_path):
    rows = [f"shelf-{number:02},{board()},lab,S{number}" for number in range(50)]
    (tmp_path / "fifty.csv").write_text("\n".join(["id,board,tags,serial", *rows]) + "\n")
    out = tmp_path / "image"
    words = ("claim", "--batch", str(tmp_path / "fifty.csv"), *system, "--out", str(out))
    said = json.loads(device(home, *words, "--json").stdout)
    assert (said["count"], said["folders"]) == (50, [str(out)])
    found = msgspec.json.decode((out / "image.json").read_bytes(), type=ImageDescription)
    assert (found.device, found.claim, found.count, found.expires) == (None, said["claim"], 50, said["expires"])
    assert load(out / "agent.toml").device.id is None


def test_a_card_gets_it_too(home, system, tmp_path):
    path = card(tmp_path / "card.img", {"cmdline.txt": b"root=/dev/sda2\n"}, 120)
    said = device(home, "provision", "edge-3", "--board", board(), *system, "--boot", str(path)).stdout
    assert f"put into {path}" in said
    seen = extracted(path, tmp_path / "seen")
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=seen / "skerry", check=False)
    assert done.returncode == 0
    own = home.devices / "edge-3"
    assert set(modes(own)) == CLAIM, "a home would hold the wheels of fifty boards, and its backups too"
    assert (own / "agent.toml").read_bytes() == (seen / "skerry" / "agent.toml").read_bytes()


def test_a_configuration_alone_is_what_it_was(home, tmp_path):
    device(home, "provision", "edge-4", "--board", board(), "--config-only", "--out", str(tmp_path / "one"))
    device(home, "provision", "edge-5", "--board", board())
    assert set(modes(tmp_path / "one")) == set(modes(home.devices / "edge-5")) == CLAIM


def test_a_configuration_alone_is_not_put_over_an_image(home, system, tmp_path):
    out = tmp_path / "image"
    device(home, "provision", "edge-8", "--board", board(), *system, "--out", str(out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = device(
        home, "provision", "edge-8", "--replace", "--board", board(), "--config-only", "--out", str(out), check=False
    )
    assert (done.returncode, "holds an image" in done.stderr) == (2, True), done
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_provisioned_again_the_wheels_of_before_are_gone(home, system, tmp_path):
    out = tmp_path / "image"
    words = ("provision", "edge-6", "--board", board(), *system, "--out", str(out))
    device(home, *words)
    (out / "wheels" / "old-1.0-py3-none-any.whl").write_bytes(b"")
    (out / "state").mkdir()
    (out / "state" / "journal").write_text("the agent's")
    device(home, *words, "--replace")
    assert "old-1.0-py3-none-any.whl" not in reached(out)
    assert (out / "state" / "journal").read_text() == "the agent's"


MISTAKES = {
    "no network and no wheels": (["--os", "ubuntu-24.04"], "the package index is not reached"),
    "a Python that is too old": (["--os", "ubuntu-22.04"], "comes with Python 3.10, older than the agent needs"),
    "a system that nobody knows": (["--os", "debian-21"], "did you mean debian-"),
    "a release that is not there": (["--factory", "fashion@9.9.9"], "there is no release"),
    "a folder of wheels without any": (["--wheels", "{empty}"], "lacks wheels for"),
    "a card that is none": (["--boot", "{text}"], "is no image of a card"),
    "a card that is full": (["--boot", "{small}"], "has room for"),
    "an image that is no image": (
        ["--config-only", "--boot", "{small}"],
        "is of an image folder: not with --config-only",
    ),
    "a name that is taken": (["--replace-nothing"], "already"),
}


@pytest.mark.parametrize(("options", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_record_claim_folder_nor_card(
    home, system, tmp_path, monkeypatch, options, said
):
    for name, value in nowhere().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x" * 2000)
    card(tmp_path / "small", {}, 10)
    cards = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    name, options = ("edge-4", []) if options == ["--replace-nothing"] else ("edge-99", options)
    if name == "edge-4" and not any(each["id"] == name for each in listed(home)[0]):
        device(home, "provision", name, "--board", board())
    if "--wheels" in options:
        home = bare(tmp_path)
    before = listed(home)
    words = [option.format(**{each: str(tmp_path / each) for each in ("empty", "text", "small")}) for option in options]
    if "--os" not in words:
        words += system
    done = device(home, "provision", name, "--board", board(), *words, "--out", str(tmp_path / "out"), check=False)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert listed(home) == before
    assert not (tmp_path / "out").exists()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == cards


def test_a_disk_that_gets_full_leaves_nothing(home, system, tmp_path):
    """The folder is larger than all that was written before together."""
    before = listed(home)

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))

    words = ("device", "provision", "edge-full", "--board", board(), *system, "--out", str(tmp_path / "out"))
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), *words]
    done = subprocess.run(command, preexec_fn=small_files, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write {tmp_path}/out: File too large")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert listed(home) == before


def bare(tmp_path):
    made = make_home(tmp_path / "other-home")
    skerry(made, "init")
    return made


def test_32_bit_arm_is_refused_with_its_reason(home, tmp_path, monkeypatch):
    from skerry_host.boards import boards_folder

    (tmp_path / "boards").mkdir()
    for path in boards_folder().glob("*.toml"):
        (tmp_path / "boards" / path.name).write_bytes(path.read_bytes())
    text = (boards_folder() / "raspberry-pi-3.toml").read_text()
    text = text.replace('"raspberry-pi-3"', '"raspberry-pi-2"').replace('"aarch64"', '"armv7l"')
    (tmp_path / "boards" / "raspberry-pi-2.toml").write_text(text)
    monkeypatch.setenv("SKERRY_BOARDS", str(tmp_path / "boards"))
    words = ("provision", "edge-32", "--board", "raspberry-pi-2", "--out", str(tmp_path / "out"))
    done = device(home, *words, check=False)
    assert done.returncode == 1
    assert "is 32-bit ARM (armv7): neither LiteRT, nor onnxruntime, nor numpy has wheels for it" in done.stderr
    assert device(home, *words, "--config-only").returncode == 0


def test_boot_is_for_one_kind_of_boards(home, tmp_path):
    (tmp_path / "two.csv").write_text("id,board\nm-1,generic-x86\nm-2,raspberry-pi-4\n")
    path = card(tmp_path / "card.img", {}, 10)
    words = ("claim", "--batch", str(tmp_path / "two.csv"), "--out", str(tmp_path / "out"), "--boot", str(path))
    assert "--boot is for one kind of boards" in device(home, *words, check=False).stderr
