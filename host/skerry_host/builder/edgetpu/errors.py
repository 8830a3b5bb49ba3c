"""What can be wrong around the Edge TPU.

SkerryError
├── ModelError           the file: not TFLite, damaged, not compiled
└── CompileError         the compiler ran, and gave nothing that may be used
    └── NoCompilerError  there is no compiler on this machine
"""

from pathlib import Path

from skerry_agent.wire.errors import SkerryError


class CompileError(SkerryError):
    """The compiler refused the model, crashed, took too long, or left an output that no Edge TPU would run.

    `code` says which: not_quantized, unparsable, unsupported_version, dynamic, large_activations, internal, crash,
    timeout, no_output, damaged_output, zero_ops, other_model, not_started, failed. `log` is the stored output of the
    compiler, if there is any.
    """

    code = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, log: Path | None = None) -> None:
        self.log = log
        super().__init__(message, hint=hint, code=code)


class NoCompilerError(CompileError):
    """No compiler was found where one is looked for."""

    code = "no_compiler"
