"""first-boot.sh on a staged disk: what it makes, what it refuses in one line, and what a cut of the power leaves."""

import fcntl
import os
import shutil
import stat
import subprocess
import tomllib
from dataclasses import replace

import pytest

from skerry_agent.identity.board_serial import board_serial
from skerry_host.image.folder import write_folder
from skerry_host.image.parts import image_files
from skerry_host.plane.provision import Image, claim_toml
from tests.kit.images import IDENTITY, fake_python, first_boot, here, image, request, tree, wheel
from tests.kit.programs import ROOT, require_program

SCRIPT = ROOT / "firmware_configs" / "image" / "first-boot.sh"


@pytest.fixture
def board(tmp_path):
    """(folder, root, run): run makes this machine the board of an image, whose disk is below root."""
    folder, root = image(tmp_path / "image"), tmp_path / "root"
    python = fake_python(tmp_path / "bin")

    def run(**environment):
        return first_boot(folder, root, **{"SKERRY_PYTHON": str(python)} | environment)

    return folder, root, run


def said(done) -> list[str]:
    return [line.removeprefix("skerry-first-boot: ") for line in done.stdout.splitlines()]


def test_it_makes_a_device_of_a_board(board):
    folder, root, run = board
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.startswith("skerry-first-boot: ") for line in done.stdout.splitlines())
    etc = root / "etc" / "skerry"
    toml = (etc / "agent.toml").read_text()
    assert 'state_dir = "/var/lib/skerry"\nfactory = "/usr/share/skerry/factory"\n' in toml
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in etc.iterdir()}
    assert modes["claim.key"] == modes["agent.toml"] == 0o600
    assert (modes["claim.pem"], stat.S_IMODE(etc.stat().st_mode)) == (0o644, 0o700)
    wanted = root / "etc" / "systemd" / "system" / "multi-user.target.wants" / "skerry-agent.service"
    assert wanted.resolve().read_bytes() == (folder / "system" / "skerry-agent.service").read_bytes()
    assert (root / "etc" / "udev" / "rules.d" / "99-skerry-coral.rules").is_file()
    link = (root / "opt" / "skerry").readlink()
    assert (root / "opt" / link / "bin" / "skerry-agent").exists()
    assert not link.is_absolute(), "it must hold where the disk is mounted elsewhere"


def test_it_may_be_run_again(board):
    _folder, root, run = board
    run()
    before = tree(root)
    done = run()
    assert (done.returncode, tree(root)) == (0, before)
    assert said(done)[0].endswith("is installed already")


def test_a_newer_image_takes_the_place_of_the_one_before(board, tmp_path):
    folder, root, run = board
    run()
    (root / "etc" / "skerry" / "agent.toml").write_text("somebody's own\n")
    shutil.rmtree(folder)
    image(folder, wheels=(wheel("pip-27.0-py3-none-any.whl"),))
    before = (root / "opt" / "skerry").readlink()
    done = run()
    assert (done.returncode, "is agent.toml.before" in done.stdout) == (0, True)
    assert (root / "opt" / "skerry").readlink() != before
    assert (root / "opt" / before).is_dir(), "the one that may be running"
    assert (root / "etc" / "skerry" / "agent.toml.before").read_text() == "somebody's own\n"


def damaged(folder):
    (folder / "wheels" / "pip-26.3-py3-none-any.whl").write_bytes(b"x")


def cut_off(folder):
    (folder / "claim.pem").unlink()


def another_machine(folder):
    change(folder, "MACHINE='", "MACHINE='riscv-")


def huge(folder):
    change(folder, "NEEDS_KB='", "NEEDS_KB='99999999")


def expired(folder):
    change(folder, "EXPIRES='4000000000'", "EXPIRES='1000000000'")


def change(folder, old, new):
    """As another image would have it: with the right sums."""
    env = folder / "image.env"
    assert old in env.read_text()
    env.write_text(env.read_text().replace(old, new))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    sums = subprocess.run(
        ["sha256sum", *(name for name in names if name != "SHA256SUMS")],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (folder / "SHA256SUMS").write_text(sums.stdout)


REFUSED = {
    "a damaged wheel": (damaged, {}, "files: wheels/pip-26.3-py3-none-any.whl is not what SHA256SUMS says"),
    "a file that is missing": (cut_off, {}, "files: claim.pem is not what SHA256SUMS says"),
    "another machine": (another_machine, {}, "the image is for riscv-"),
    "a claim that has run out": (expired, {}, "claim: it ran out on 2001-09-09"),
    "an older Python": (None, {"version": "3.9 64"}, "python: this system has 3.9 (64 bits), the wheels are for 3.11"),
    "a 32-bit system": (None, {"version": "3.11 32"}, "python: this system has 3.11 (32 bits)"),
    "a disk that is full": (huge, {}, "MB are needed"),
    "a wheel with another hash": (
        None, {"pip": "echo ERROR: THESE DO NOT MATCH THE HASHES; exit 1;"}, "environment: pip says: ERROR: THESE",
    ),
    "a wheel that is not for this processor": (
        None, {"imports": "kill -ILL $$;"}, "importing litert died by signal 4 on this processor",
    ),
    "a wheel that does not import": (
        None, {"imports": "echo ImportError: no libfoo.so; exit 1;"}, "litert does not import: ImportError: no libfoo",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "python", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("used", [False, True], ids=["a new board", "a device"])
def test_what_cannot_be_is_refused_in_one_line_and_leaves_the_old_state_whole(
    board, tmp_path, spoil, python, why, used
):
    folder, root, run = board
    if used:
        run()
        shutil.rmtree(folder)
        image(folder, wheels=(wheel("pip-26.3-py3-none-any.whl"), wheel("new-1.0-py3-none-any.whl")))
    if spoil is not None:
        spoil(folder)
    root.mkdir(exist_ok=True)
    before = tree(root)
    path = {"PATH": f"{tmp_path / 'no'}:{os.environ['PATH']}"}
    if python:
        for name in ("python3", "python3.11"):
            shutil.copy(fake_python(tmp_path / "no", **python), tmp_path / "no" / name)
    done = run(**path, SKERRY_PYTHON=str(fake_python(tmp_path / "other", **python)))
    assert (done.returncode, done.stderr) == (1, "")
    refused = [line for line in said(done) if line.startswith("refused: ")]
    assert len(refused) == 1
    assert why in refused[0]
    assert tree(root) == before


CUTTERS = ("mv", "cp", "rm", "ln", "sed", "sync", "chmod", "mkdir", "sha256sum", "df", "cut", "wc", "cat", "readlink")
CUTTER = """#!/bin/sh
# Passes the command on, and cuts the power before the one that is told to.
echo . >>"$CUT_COUNT"
[ "$(wc -l <"$CUT_COUNT")" -lt "$CUT_AT" ] || kill -KILL 0
PATH=${PATH#*:}
exec "${0##*/}" "$@"
"""


def cutting(folder, at):
    """An environment in which the shell dies, as by a power cut, before its `at`th command."""
    folder.mkdir()
    for name in CUTTERS:
        (folder / name).write_text(CUTTER.replace("$(wc", "$(/usr/bin/wc"))
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "CUT_COUNT": str(folder / "count"), "CUT_AT": str(at)}


def test_a_cut_of_the_power_at_any_command_leaves_what_the_next_run_completes(board, tmp_path):
    _folder, root, run = board
    run()
    whole = tree(root)
    counted = cutting(tmp_path / "all", 10**6)
    shutil.rmtree(root)
    run(**counted)
    commands = len((tmp_path / "all" / "count").read_text())  # 2 bytes each; every fifth one is tried
    assert commands > 60
    for at in range(1, commands // 2 + 1, 5):
        shutil.rmtree(root, ignore_errors=True)
        cut = run(**cutting(tmp_path / f"cut-{at}", at))
        assert cut.returncode == -9, (at, cut.stdout, cut.stderr)
        link = root / "opt" / "skerry"
        assert not link.is_symlink() or (link / "bin" / "skerry-agent").exists(), "never half an environment"
        assert run().returncode == 0
        assert tree(root) == whole, at


def test_from_the_boards_own_boot_partition_the_claim_goes_and_from_a_stick_it_stays(board, tmp_path):
    folder, root, run = board
    assert "claim: stays in" in run().stdout
    assert (folder / "claim.key").is_file()
    boot = root / "boot" / "firmware"
    boot.mkdir(parents=True)
    shutil.move(folder, boot / "skerry")
    line = "console=tty1 root=/dev/sda2 systemd.run=/boot/firmware/skerry/first-boot.sh systemd.unit=x.target\n"
    (boot / "cmdline.txt").write_text(line)
    shutil.rmtree(root / "etc")
    done = first_boot(boot / "skerry", root, SKERRY_PYTHON=str(tmp_path / "bin" / "python"))
    assert done.returncode == 0
    assert {path.name for path in (boot / "skerry").iterdir()} & {"claim.key", "claim.pem"} == set()
    assert (root / "etc" / "skerry" / "claim.key").is_file()
    assert (boot / "cmdline.txt").read_text() == "console=tty1 root=/dev/sda2\n", "or the board boots into it for ever"
    assert first_boot(boot / "skerry", root).returncode == 0, "once more, without the claim"


def test_a_refusal_ends_the_kernels_command_line_too(board, tmp_path):
    folder, root, _run = board
    boot = tmp_path / "boot"
    boot.mkdir()
    shutil.move(folder, boot / "skerry")
    (boot / "cmdline.txt").write_text("a systemd.run=/boot/firmware/skerry/first-boot.sh systemd.unit=x.target\n")
    damaged(boot / "skerry")
    assert first_boot(boot / "skerry", root).returncode == 1
    assert (boot / "cmdline.txt").read_text() == "a\n"


def test_a_boot_partition_without_room_for_a_new_file_does_not_boot_into_it_for_ever(board, tmp_path):
    folder, root, _run = board
    (tmp_path / "boot" / "cmdline.txt.new").mkdir(parents=True)  # in whose place nothing can be written
    boot = tmp_path / "boot"
    shutil.move(folder, boot / "skerry")
    (boot / "cmdline.txt").write_text("a systemd.run=/boot/firmware/skerry/first-boot.sh systemd.unit=x.target\n")
    assert first_boot(boot / "skerry", root, SKERRY_PYTHON=str(tmp_path / "bin" / "python")).returncode == 0
    assert (boot / "cmdline.txt").read_text() == "a\n"


SERIALS = {
    "of DMI": ({"product_serial": "MX-0815 a\n", "board_serial": "other"}, "MX-0815 a"),
    "of its mainboard": ({"product_serial": "To be filled by O.E.M.\n", "board_serial": "B1\n"}, "B1"),
    "none": ({"product_serial": "Default string\n"}, ""),
    "one that would need quotes": ({"product_serial": 'a"b\n'}, ""),
}


@pytest.mark.parametrize(("written", "wanted"), SERIALS.values(), ids=SERIALS)
def test_a_serial_that_only_root_may_read_is_told_to_the_service_which_has_no_right_to(tmp_path, written, wanted):
    """Else an x86 board of a batch would never be found by its serial, and wait for a person."""
    toml = claim_toml(Image("mqtts://h.example:8883", "mqtts://h.example:8884", b"", b"", b""), here())
    folder, root = tmp_path / "image", tmp_path / "root"
    identity = {**IDENTITY, "agent.toml": (toml, 0o600)}
    write_folder(folder, image_files(replace(request(device=None), identity=identity)), tmp_path / "before")
    dmi = root / "sys" / "class" / "dmi" / "id"
    dmi.mkdir(parents=True)
    for name, text in written.items():
        (dmi / name).write_text(text)
    assert first_boot(folder, root, SKERRY_PYTHON=str(fake_python(tmp_path / "bin"))).returncode == 0
    made = tomllib.loads((root / "etc" / "skerry" / "agent.toml").read_text())
    assert made.get("device", {}).get("serial", "") == wanted == board_serial(root).replace('a"b', "")


GOES_ON = {"/run/skerry-image/skerry": "/etc/skerry-first-boot", "/boot/firmware/skerry": "/boot/firmware/skerry"}


@pytest.mark.parametrize("place", GOES_ON)
def test_after_a_cut_of_the_power_the_next_boot_goes_on_from_a_stick_too(tmp_path, place):
    """What cloud-init has mounted below /run is not there at the next boot, and it runs nothing a second time."""
    folder, units = image(tmp_path / "image"), tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    text = SCRIPT.read_text()
    functions = [
        text[text.index(f"\n{name}() {{") :].partition("\n}\n")[0] + "\n}\n" for name in ("put", "go_on_after_a_cut")
    ]
    script = "".join(functions).replace("from=$here", f"from={place}") + "go_on_after_a_cut"
    environment = {"PATH": os.environ["PATH"], "root": "", "here": str(folder), "units": str(units)}
    subprocess.run(["sh", "-euc", script], env=environment, check=True)
    unit = (units / "skerry-first-boot.service").read_text()
    assert f"ConditionPathExists={GOES_ON[place]}/first-boot.sh\n" in unit
    again = tmp_path / "etc" / "skerry-first-boot" / "first-boot.sh"
    assert again.exists() == place.startswith("/run/")
    assert not again.exists() or "mount -L CIDATA" in again.read_text()


def test_two_runs_at_once_are_one(board, tmp_path):
    folder, root, run = board
    with (folder / "first-boot.sh").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        assert "it runs already" in run().stdout
    assert tree(root) == {}
    assert run().returncode == 0


def test_its_folder_may_have_any_name(tmp_path):
    folder = image(tmp_path / "an image, 'of' $HOME")
    done = first_boot(folder, tmp_path / "root", SKERRY_PYTHON=str(fake_python(tmp_path / "bin")))
    assert (done.returncode, done.stderr) == (0, "")


PIP_SCRIPTS = r"""
        bin=${0%/*}; printf '#!%s/python\nrest\n' "$bin" >"$bin/one"; ln -s "$bin/one" "$bin/link"
        printf "#!/bin/sh\n'''exec' \"%s/python\" \"\$0\"\n' '''\nrest\n" "$bin" >"$bin/three"
        chmod +x "$bin/one" "$bin/three"; echo "command = $bin" >"${bin%/*}/pyvenv.cfg"
"""


@pytest.mark.parametrize("name", ["root", "a root"])
def test_what_is_installed_below_a_folder_runs_where_that_is_the_boards_own_disk(tmp_path, name):
    """For images that are made elsewhere: no program may begin with the folder that the board does not have."""
    python, root = fake_python(tmp_path / "bin", pip=PIP_SCRIPTS), tmp_path / name
    assert first_boot(image(tmp_path / "image"), root, SKERRY_PYTHON=str(python)).returncode == 0
    made = root.rename(tmp_path / "disk") / "opt" / "skerry"
    for program in ("one", "three"):
        text = (made / "bin" / program).read_text()
        assert (text.startswith("#!/bin/sh\n"), text.endswith("\nrest\n"), str(root) in text) == (True, True, False)
        assert subprocess.run([made / "bin" / program], check=False).returncode == 0
    assert str((made / "bin" / "link").readlink()).startswith("/opt/skerry-")
    assert (made / "pyvenv.cfg").read_text().startswith("command = /opt/skerry-")


def test_a_package_that_brings_the_environment_stays(board):
    _folder, root, run = board
    program = root / "opt" / "skerry" / "bin" / "skerry-agent"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    done = run()
    assert done.returncode == 0
    assert "of a package: it stays" in done.stdout
    assert program.read_text() == "#!/bin/sh\n"


def test_steps_of_other_parts_come_before_python_is_looked_for(board, tmp_path):
    folder, _root, run = board
    (folder / "steps.d").mkdir()
    (folder / "steps.d" / "10-other.sh").write_text(f"SKERRY_PYTHON={tmp_path}/bin/python\nsay 'other: done'\n")
    change(folder, "EXPIRES", "EXPIRES")
    done = run(SKERRY_PYTHON="/nowhere", PATH=os.environ["PATH"])
    assert done.returncode == 0
    assert "other: done" in done.stdout


def test_files_that_are_not_of_the_image_are_not_run(board, tmp_path):
    """An image of before may have left them, or a computer that the folder was copied on."""
    folder, _root, run = board
    (folder / "steps.d").mkdir()
    (folder / "steps.d" / "10-other.sh").write_text("say other\n")
    (folder / "wheels" / "pip-26.3-py3-none-any (1).whl").write_bytes(b"x")
    (folder / "wheels" / "pip-25.0-py3-none-any.whl").write_bytes(b"x")
    python = fake_python(tmp_path / "strict", pip='[ -f "${1%/pip}" ] || exit 1;')
    done = run(SKERRY_PYTHON=str(python))
    assert (done.returncode, "other" in done.stdout) == (0, False)


def test_it_is_a_posix_script():
    program = require_program("shellcheck", "shellcheck")
    scripts = [SCRIPT, SCRIPT.with_name("vendor-data")]
    done = subprocess.run([program, "-e", "SC2153,SC2015", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
