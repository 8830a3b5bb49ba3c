"""The parts of an image for the Edge TPU: an interpreter and a driver, with the steps of first-boot.sh for them."""

from collections.abc import Iterator

from skerry_host.firmware import firmware_file
from skerry_host.image.coral.driver import DriverFile
from skerry_host.image.coral.interpreter import Interpreter
from skerry_host.image.request import ImageFile, ImageRequest

ARCHIVE, LIBRARY = "coral/python.tar", "coral/libedgetpu.so.1"


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """What was given; nothing for other boards."""
    interpreter, coral = request.ordered.interpreter, request.ordered.coral
    if interpreter is not None:
        yield ImageFile(ARCHIVE, source=interpreter.path)
        yield _step("10-python.sh", _of_interpreter(interpreter))
    if coral is not None and coral.driver is not None:
        yield ImageFile(LIBRARY, coral.driver.library)
        yield _step("20-libedgetpu.sh", _of_driver(coral.driver))


def _step(name: str, values: dict[str, str]) -> ImageFile:
    """A step with what it needs to know: plain words, as in image.env."""
    known = "".join(f"{key}='{value}'\n" for key, value in values.items())
    return ImageFile(f"steps.d/{name}", (known + firmware_file("image", "coral", name).read_text("utf-8")).encode())


def _of_interpreter(of: Interpreter) -> dict[str, str]:
    kilobytes = str(of.unpacked // 1024)
    return {"coral_python": of.sha256[:16], "coral_program": of.program, "coral_kb": kilobytes}


def _of_driver(of: DriverFile) -> dict[str, str]:
    return {"coral_driver": of.sha256[:16]}
