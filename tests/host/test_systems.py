"""The operating systems: each file says what its system has, and every board has some that it usually runs."""

import pytest

from skerry_host.boards import list_boards, load_board
from skerry_host.systems import SystemsError, chosen_systems, list_systems, load_system, usual_systems


@pytest.mark.parametrize("name", list_systems())
def test_a_systems_file_is_valid_and_names_boards_that_there_are(name):
    system = load_system(name)
    for board in system.boards:
        assert load_board(board).arch in system.arches


@pytest.mark.parametrize("board", list_boards())
def test_every_board_has_usual_systems(board):
    assert usual_systems(board)


def test_the_usual_systems_come_with_the_oldest_python_first():
    assert [system.python for system in usual_systems("raspberry-pi-4")] == ["3.11", "3.13"]


def test_a_board_of_ones_own_has_all_of_its_architecture_that_run_the_agent():
    names = [system.name for system in chosen_systems("my-board", "x86_64", ())]
    assert names == ["debian-12", "debian-13", "ubuntu-24.04"]


@pytest.mark.parametrize(
    ("name", "arch", "why"),
    [
        ("debain-12", "x86_64", "did you mean debian-12?"),
        ("mendel", "x86_64", "is for aarch64, board b is x86_64"),
        ("raspberry-pi-os-trixie", "armv7l", "choose another with --os: there is none"),
    ],
)
def test_a_system_that_cannot_be_is_refused(name, arch, why):
    with pytest.raises(SystemsError) as error:
        chosen_systems("b", arch, (name,))
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [("schema = 1\n", "title: missing; codename: missing"), ("not toml", "not TOML"), ("python = 3.9\n", "python: ")],
)
def test_every_fault_of_a_file_is_told(tmp_path, monkeypatch, text, why):
    (tmp_path / "a.toml").write_text(text)
    monkeypatch.setenv("SKERRY_SYSTEMS", str(tmp_path))
    with pytest.raises(SystemsError) as error:
        load_system("a")
    assert why in str(error.value)
