from pathlib import Path

import pytest

from skerry_agent.config import load as load_agent_config
from skerry_host.boards import BoardError, boards_folder, list_boards, load_board
from skerry_host.plane.provision import agent_toml

CONFIGS = Path(__file__).resolve().parents[2] / "firmware_configs"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "boards").glob("*.toml")))
def test_every_board_is_sound(name: str):
    board = load_board(name)
    assert "cpu" in board.targets
    assert board.power.source
    assert "edgetpu" not in board.targets or board.power.accelerator_w


def test_the_boards_that_users_were_promised():
    promised = {
        "raspberry-pi-4",
        "raspberry-pi-5",
        "coral-dev-board",
        "raspberry-pi-4-coral-usb",
        "imx8m-plus",
        "generic-x86",
    }
    assert promised <= set(list_boards())


def test_a_new_board_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Here without what may be absent. The boards that there are stay beside it."""
    text = (CONFIGS / "boards" / "generic-x86.toml").read_text("utf-8")
    new = text.replace('name = "generic-x86"', 'name = "a-new-board"').split("[peak]")[0]
    for path in (CONFIGS / "boards").glob("*.toml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a-new-board.toml").write_text(new, "utf-8")
    known = list_boards()
    monkeypatch.setenv("SKERRY_BOARDS", str(tmp_path))
    assert list_boards() == sorted(["a-new-board", *known])
    assert (load_board("a-new-board").targets, load_board("a-new-board").peak) == (("cpu", "onnx"), None)
    config = agent_toml("dev-1", load_board("a-new-board"), "mqtt://127.0.0.1:1883")
    (tmp_path / "agent.toml").write_text(config, "utf-8")
    assert load_agent_config(tmp_path / "agent.toml").board.name == "a-new-board"


def test_the_runtime_of_an_edge_tpu_s_driver():
    assert load_board("coral-dev-board").edgetpu_runtime() == 13
    with pytest.raises(BoardError, match="cannot run target edgetpu"):
        load_board("raspberry-pi-4").edgetpu_runtime()


def test_an_unknown_board_names_the_known_ones():
    with pytest.raises(BoardError, match=f"known boards: {', '.join(list_boards())}") as refused:
        load_board("../toaster")
    assert refused.value.exit_code == 2


CASES = {
    "all issues": ("cores = 4\n", "cores = 0\n", "cores: Expected"),
    "other name": ('name = "raspberry-pi-4"', 'name = "raspberry-pi-9"', "the file is raspberry-pi-4.toml"),
    "no engine": (
        '"cpu", "onnx"]',
        '"cpu", "edgetpu"]',
        "target edgetpu has no engine; target edgetpu needs an accelerator",
    ),
    "threads": ("threads = 4", "threads = 5", "the board has 4 cores"),
    "runtime of no use": ("threads = 4", "threads = 4\nedgetpu_runtime = 13", "needs target edgetpu"),
    "misspelt": ("idle_w", "idle_watts", "power.idle_w: missing"),
    "not TOML": ("schema = 1", "schema =", "cannot read"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str):
    old, new, expected = CASES[case]
    text = (CONFIGS / "boards" / "raspberry-pi-4.toml").read_text("utf-8")
    assert old in text
    (tmp_path / "raspberry-pi-4.toml").write_text(text.replace(old, new), "utf-8")
    monkeypatch.setenv("SKERRY_BOARDS", str(tmp_path))
    with pytest.raises(BoardError) as refused:
        load_board("raspberry-pi-4")
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SKERRY_BOARDS", str(tmp_path / "none"))
    with pytest.raises(BoardError, match="set SKERRY_BOARDS"):
        boards_folder()


def test_the_agents_template_is_one_that_the_agent_reads():
    config = load_agent_config(CONFIGS / "agent.toml")
    power = load_board(config.board.name).power
    assert config.board.power is not None
    assert (config.board.power.idle_w, config.board.power.watts_per_core) == (power.idle_w, power.watts_per_core)


def test_a_misspelt_board_is_told_with_the_nearest():
    with pytest.raises(BoardError, match=r"known boards: .*; did you mean raspberry-pi-4\?"):
        load_board("rasberry-pi-4")
