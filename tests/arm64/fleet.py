"""The one device of the emulated fleet, and what is waited for. No tests here."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from skerry_host.home import Home
from tests.arm64.board import PATIENCE_S, EmulatedBoard
from tests.kit.commands import skerry
from tests.kit.waiting import eventually

SERIAL, DEVICE, OS = "10000000abcd1234", "edge-01", "raspberry-pi-os-bookworm"

full = pytest.mark.skipif(os.environ.get("SKERRY_ARM64") != "full", reason="`make test-arm64` runs it")
"""Marks what takes minutes more than the sample that `make test` runs."""


def await_status(board: EmulatedBoard, right: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Wait until the board's own status is `right`."""
    seen: dict[str, Any] = {}

    def is_right() -> bool:
        seen.clear()
        seen.update(board.status())
        return bool(seen) and right(seen)

    eventually(is_right, f"{what}: {seen} {board.tail()}", PATIENCE_S)
    return seen


def await_release(board: EmulatedBoard, release: str) -> dict[str, Any]:
    """Wait until it serves a release, and nothing is going on."""

    def serving(status: dict[str, Any]) -> bool:
        model = status["models"].get("fashion", {})
        right = (model.get("current") or {}).get("release") == release
        return right and model["serving"] and model["state"] == "idle"

    return dict(await_status(board, serving, f"serves {release}")["models"]["fashion"])


def rollout(home: Home, release: str, *options: str) -> dict[str, Any]:
    """Order a release of the device and wait for the end; how it ended."""
    started = skerry(home, "rollout", "start", release, "--device", DEVICE, *options, "--json")
    return await_end(home, str(json.loads(started.stdout)["rollout"]))


def await_end(home: Home, name: str) -> dict[str, Any]:
    """Wait until a rollout has ended; how."""
    view: dict[str, Any] = {}

    def ended() -> bool:
        view.update(json.loads(skerry(home, "rollout", "status", name, "--json").stdout))
        return bool(view["ended"])

    eventually(ended, f"the end of {name}: {view}", PATIENCE_S)
    return view
