"""Why an ONNX file cannot be used, inside of the child process that looks at it."""


class UnfitError(Exception):
    """What is wrong with it, as the end of a sentence that begins with its name, and what to do."""

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)
