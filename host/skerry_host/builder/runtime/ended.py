"""Says how a child process ended that gave no answer: killed, out of memory, or by a signal of its own. Pure."""

import signal

_NO_MEMORY = (
    "MemoryError",
    "Failed to allocate memory",
    "std::bad_alloc",
    "Cannot allocate memory",
    "Out of memory",
    "bad allocation",
    "ENOMEM",
)
"""What programs say when an allocation fails."""


def out_of_memory(output: str) -> bool:
    """Whether an output's last lines say that an allocation failed."""
    return any(words in output[-4000:] for words in _NO_MEMORY)


def ending(what: str, status: int, output: str, limit_bytes: int) -> tuple[str, str, str]:
    """Message, hint and code for a child that ended by itself or by a signal (a negative status)."""
    limit = f"it may take {limit_bytes / 1024**3:.0f} GiB"
    if out_of_memory(output):
        return f"{what} needs more memory than there is ({limit})", "use a smaller model, or a larger machine", "memory"
    name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    if -status == signal.SIGKILL:
        text = f"{what} was killed (SIGKILL), as the system does when memory runs out"
        return text, "use a smaller model, or a machine with more memory", "memory"
    return f"{what} crashes ({name})", "", "crash"
