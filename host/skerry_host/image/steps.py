"""The part `steps.html`: a page to print, with what a person does from the box to a serving board."""

from collections.abc import Iterator

from skerry_host import dates
from skerry_host.firmware import firmware_file
from skerry_host.image.request import ImageFile, ImageRequest


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """The page."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - keeps the other commands quick

    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(firmware_file("image", "steps.html").read_text("utf-8"))
    until = dates.local(request.expires, "%Y-%m-%d %H:%M") if request.expires else ""
    made = dates.local(request.made, "%Y-%m-%d %H:%M")
    page = template.render(
        request=request, board=request.board, systems=request.ordered.systems, until=until, made=made
    )
    yield ImageFile("steps.html", page.encode())
