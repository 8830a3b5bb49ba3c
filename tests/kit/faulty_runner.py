"""A runner whose engine fails in service, as a program for `python -c`: put the fault in place of FAULT."""

FAULTY = """
import ctypes, socket, sys
from skerry_agent.runner import control, session

class Faulty:
    def __init__(self, engine):
        self.inputs, self.outputs, self._engine, self._left = engine.inputs, engine.outputs, engine, 6
        self.about = engine.about
    def infer(self, inputs):
        self._left -= 1
        if self._left < 0:
            FAULT
        return self._engine.infer(inputs)

session.run(control.Control(socket.socket(fileno=int(sys.argv[2]))), lambda job: Faulty(session.open_job(job)))
"""
"""A runner whose engine has a fault in C code at its first inference after the proof."""
