"""What child processes of the host are given: never a secret of the environment."""

import ast
import subprocess
import sys
from pathlib import Path

import skerry_host
from skerry_host.children import SECRETS, environment

PACKAGE = Path(skerry_host.__file__).parent
OWN_COMMANDS = {"cli/demo/fleet.py"}
"""Those start `skerry` itself, which reads the same variables."""
STARTERS = {"run", "Popen", "call", "check_call", "check_output"}


def test_a_child_inherits_everything_but_secrets():
    own = {"PATH": "/bin", "SKERRY_HOME": "/h", **dict.fromkeys(SECRETS, "hunter2")}
    assert environment(own) == {"PATH": "/bin", "SKERRY_HOME": "/h"}


def test_every_child_process_is_given_an_environment():
    """One that inherits it shows the broker's and the registry's password in /proc, and passes them on."""
    given, without = 0, []
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in STARTERS):
                continue
            if not (isinstance(call.func.value, ast.Name) and call.func.value.id == "subprocess"):
                continue
            given += 1
            names = {word.arg for word in call.keywords}
            if "env" not in names and str(path.relative_to(PACKAGE)) not in OWN_COMMANDS:
                without.append(f"{path}:{call.lineno}")
    assert given > len(OWN_COMMANDS)
    assert without == []


def test_a_limit_that_is_lower_already_is_kept():
    """Under `ulimit -v` every conversion failed, because a child cannot raise what its parent was given."""
    code = (
        "import resource; from skerry_host import children; lower = 3 * 1024**3\n"
        "resource.setrlimit(resource.RLIMIT_AS, (lower, lower)); children.limit(2 * lower)\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] == lower)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
