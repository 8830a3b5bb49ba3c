"""The table of what an image folder holds: a function for each part, and the order in which they are asked.

A part answers with files and knows nothing of the others. What describes all of them, image.json and SHA256SUMS, is
made of their answers.
"""

from collections.abc import Callable, Iterable

from skerry_host.image import cloud_init, coral_parts, describe, factory, first_boot, steps, system, wheel_files
from skerry_host.image.errors import ImageError
from skerry_host.image.request import ImageFile, ImageRequest

Part = Callable[[ImageRequest], Iterable[ImageFile]]

PARTS: tuple[Part, ...] = (
    lambda request: [ImageFile(name, text.encode(), mode=mode) for name, (text, mode) in request.identity.items()],
    wheel_files.files,
    system.files,
    factory.files,
    coral_parts.files,
    first_boot.files,
    cloud_init.files,
    steps.files,
)


def image_files(request: ImageRequest) -> list[ImageFile]:
    """Every file of a folder, with what describes them. Raises `ImageError`, `OSError`."""
    made = [file for part in PARTS for file in part(request)]
    paths = [file.path for file in made]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise ImageError(f"two parts of the image write {', '.join(twice)}")
    made.append(describe.described(request, made))
    made.append(describe.sums(made))
    return made
