"""The agent's command line: mistakes are a line, and it says its version."""

import pytest

from skerry_agent import __version__
from skerry_agent.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "the following arguments are required: COMMAND; see `skerry-agent --help`"),
        (["status", "--nope"], "unrecognized arguments: --nope; see `skerry-agent --help`"),
        (["install"], "the following arguments are required: folder; see `skerry-agent install --help`"),
        (["rollback", "a\nb", "c"], "unrecognized arguments: c; see `skerry-agent --help`"),
        (["status", "--config", "/none"], "/none does not exist; `skerry device provision NAME --board B` on the host"),
    ],
)
def test_a_mistake_is_one_line(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert line in said.err
    assert said.err.count("\n") == 1


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"skerry-agent, version {__version__}\n")
