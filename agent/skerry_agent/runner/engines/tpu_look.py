"""`python -m skerry_agent.runner.engines.tpu_look PARENT`: looks once whether there is an Edge TPU, as JSON.

A process of its own, because libedgetpu may crash or hang. Imports no runtime, opens no device and loads no model: that
a model runs there, only a runner can show.
"""

import sys

import msgspec

from skerry_agent.ports.interfaces import AcceleratorLook
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.runner.engines import tpu


def look() -> AcceleratorLook:
    """The library's runtime version, and what is in the way, if anything."""
    try:
        found = tpu.by_library(tpu.LIBRARY)
    except OSError as error:
        code, _lacking = tpu.not_loaded(str(error), tpu.LIBRARY)
        return AcceleratorLook(problem=code, detail=f"cannot look for an Edge TPU: {error}")
    if found.devices:
        return AcceleratorLook(found.runtime)
    code, words = tpu.absence()
    return AcceleratorLook(found.runtime, code, words)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    print(msgspec.json.encode(look()).decode())  # noqa: T201 - the answer
