"""The one error of the patch codec. It does not decide what to do about it: the updater and the CLI do."""

from skerry_agent.wire.errors import SkerryError

HINTS = {
    "not_a_patch": "check that the file is a Skerry patch and complete",
    "format_version": "upgrade the agent, or publish a patch of a format that it knows",
    "wrong_base": "apply it to the artifact that it was made from, or fetch the full artifact",
    "too_large": "raise the device's artifact limit, or publish a smaller artifact",
    "damaged": "fetch the patch again, or fetch the full artifact",
    "trailing_bytes": "fetch the patch again; it is longer than its own header says",
    "wrong_result": "fetch the full artifact, and report this patch",
}


MISTAKES = {"not_a_patch", "wrong_base", "too_large"}


class PatchError(SkerryError, ValueError):
    """A patch was refused. `code` is stable and a key of `HINTS`; `message` is one line."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, hint=HINTS[code], code=code)
        self.exit_code = 2 if code in MISTAKES else 1


def damaged(message: str) -> PatchError:
    """The error for bytes that no encoder writes."""
    return PatchError("damaged", f"patch is damaged: {message}")
