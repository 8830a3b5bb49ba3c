"""Readers of files that people write, or their tools: TOML, keys, the config in a .keras archive."""

import json
import os
import re
from pathlib import Path

from skerry_agent import config
from skerry_agent.trust.key_file import TrustError, parse_keys
from skerry_host import boards
from skerry_host.boards import BoardError
from skerry_host.builder.recipe.errors import ModelError, RecipeError
from skerry_host.builder.recipe.recipe import load_recipe
from skerry_host.builder.sources import code
from tests.fuzz.arrays import _zip
from tests.fuzz.files import scratch_folder

ROOT = Path(__file__).resolve().parents[2]
TOML_TOKENS = (
    b"a=" + b"[" * 1500,
    b"a=" + b"{b=" * 500,
    b"= 1e999",
    b"= nan",
    b"= -inf",
    b"= " + b"9" * 5000,
    b"= 0000-00-00",
    b"= 25:61:61",
    b"= 1979-05-27T07:32:00Z",
    b"[[a]]",
    b"[a.b.c]",
    b'"""',
    b"'''",
    b'"\\uD800"',
    b'"\\U00110000"',
    b"\xef\xbb\xbf",
    b"\r",
    b"= true",
    b"= []",
    b"= {}",
    b'= ""',
    b"= 0x" + b"f" * 5000,
    b'= "../../x"',
    b'= "\\u0000"',
)


def recipe_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "models").glob("*/recipe.toml"))]


def open_recipe() -> object:
    folder = scratch_folder()
    for name in ("calibration.npz", "evaluation.npz", "fashion-1.0.0.tflite"):
        (folder / name).write_bytes(b"")

    def read(raw: bytes) -> None:
        (folder / "recipe.toml").write_bytes(raw)
        load_recipe(folder)

    return read


def agent_seeds() -> list[bytes]:
    sections = b"""
[models.m]
http = "[::1]:0"
unix = "m.sock"
results_file = "results.jsonl"
sources = [{type = "replay", path = "x.npz"}, {type = "directory", path = "in"}, {type = "camera", width = 3}]
[board.power]
idle_w = 2.7
watts_per_core = 1.1
"""
    plain = b'[device]\nid = "d"\n[broker]\nurl = "mqtt://h"\n[board]\nname = "b"\n'
    return [(ROOT / "firmware_configs" / "agent.toml").read_bytes(), plain + sections]


def open_agent() -> object:
    path = scratch_folder() / "agent.toml"

    def read(raw: bytes) -> None:
        path.write_bytes(raw)
        config.load(path)

    return read


def board_seeds() -> list[bytes]:
    """The boards that there are, under the name that is read."""
    files = sorted((ROOT / "firmware_configs" / "boards").glob("*.toml"))
    return [re.sub(rb"(?m)^name = .*$", b'name = "board"', path.read_bytes(), count=1) for path in files]


def open_board() -> object:
    folder = scratch_folder()
    os.environ[boards.VARIABLE] = str(folder)

    def read(raw: bytes) -> None:
        (folder / "board.toml").write_bytes(raw)
        boards.load_board("board")

    return read


def keras_seeds() -> list[bytes]:
    """Archives, and the JSON of one's config alone, which is put into an archive so that its checksum is right."""
    config_ = {"class_name": "Functional", "module": "keras", "config": {"layers": [{"class_name": "Lambda"}]}}
    text = json.dumps(config_).encode()
    return [_zip({"config.json": text, "metadata.json": b"{}"}), text, text, b"\x89HDF\r\n\x1a\n" + text]


def open_keras() -> object:
    path = scratch_folder() / "model.keras"

    def read(raw: bytes) -> None:
        path.write_bytes(raw if raw.startswith((b"PK", b"\x89HDF")) else _zip({"config.json": raw}))
        code.in_keras(path)
        code.quantization_aware(path)

    return read


def key_seeds() -> list[bytes]:
    key = "A" * 43 + "="
    return [json.dumps({"release": [key], "director": [key, key]}).encode(), b"{}"]


READERS = (
    ("recipe", recipe_seeds, open_recipe, (RecipeError,), TOML_TOKENS),
    ("agent-toml", agent_seeds, open_agent, (config.ConfigError,), TOML_TOKENS),
    ("board", board_seeds, open_board, (BoardError,), TOML_TOKENS),
    ("trust", key_seeds, lambda: parse_keys, (TrustError,), (b"====", b'"\\ud800"', b"\xc3\x28")),
    (
        "keras",
        keras_seeds,
        open_keras,
        (ModelError,),
        (b'"module": 5', b'"class_name": []', b'"__lambda__"', b"1e999", b"[" * 400 + b"]" * 400),
    ),
)
