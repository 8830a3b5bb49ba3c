"""What a source feeds, as a list: takes samples where a runner has a model."""

import time
from types import SimpleNamespace

from skerry_agent.runner.refusals import Refusals
from skerry_agent.runner.source_thread import SourceIssues


class Heard:
    """A feed that keeps what it is given, each after `seconds`; a `refusal` is raised for every sample instead."""

    def __init__(self, seconds=0.0, refusal=None):
        self.frames, self.names, self.dropped, self.input_errors, self.lines = [], [], 0, 0, []
        self.inference = SimpleNamespace(drop=self.drop, refused_input=self.refused_input)
        self.errors = SimpleNamespace(log=lambda error: self.lines.append(str(error)))
        self.issues = SourceIssues()
        self.refusals = Refusals("the source", self.issues)
        self.inputs, self.restarts = ["x"], 0
        self._seconds, self._refusal = seconds, refusal

    def sample(self, raw, source):
        time.sleep(self._seconds)
        if self._refusal is not None:
            raise self._refusal
        (array,) = raw
        self.frames.append(array.copy())
        self.names.append(source)

    def restart(self):
        self.restarts += 1

    def drop(self, count=1):
        self.dropped += count

    def refused_input(self):
        self.input_errors += 1
