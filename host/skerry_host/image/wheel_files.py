"""The part `wheels/`: the wheelhouse, and the requirements.txt by which pip checks every file of it."""

from collections.abc import Iterator

from skerry_host.image.request import ImageFile, ImageRequest

FOLDER = "wheels"
REQUIREMENTS = f"{FOLDER}/requirements.txt"


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """The wheels and requirements.txt."""
    wheelhouse = request.ordered.wheelhouse
    for wheel in wheelhouse.wheels:
        yield ImageFile(f"{FOLDER}/{wheel.file}", wheel.content, wheel.path)
    yield ImageFile(REQUIREMENTS, wheelhouse.requirements().encode())
