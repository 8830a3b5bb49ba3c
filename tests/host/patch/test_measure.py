"""Whose memory a measurement counts."""

import subprocess

from skerry_host.patch.measure import AnonymousPeak, bytes_of_command

LARGE = 64_000_000


def test_a_commands_memory_is_its_own_and_not_what_its_parent_holds():
    held = bytearray(b"\1") * LARGE
    with AnonymousPeak(bytes_of_command("sleep")) as peak:
        subprocess.run(["sleep", "0.1"], check=True)
    assert 0 < peak.grown < len(held) // 8


def test_own_memory_is_what_was_taken_since_the_start():
    with AnonymousPeak() as peak:
        held = bytearray(b"\1") * LARGE
        peak.look()
    assert peak.grown >= 0.9 * len(held)
