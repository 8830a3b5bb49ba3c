"""Renders the pages on the host. They work without JavaScript; the script only refreshes them.

Every value is escaped, and cleaned as for a terminal: what a registry of before holds may reverse a line as well.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from skerry_host.plane.views import words
from skerry_host.plane.web import charts
from skerry_host.plane.web.entry import Entry
from skerry_host.text import clean

TEMPLATES = Path(__file__).parent / "pages"


class Renderer:
    """The templates, with the words and drawings that they may use and the links of the navigation."""

    def __init__(self, table: Iterable[Entry]) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            finalize=_clean,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(words.FILTERS)
        self._templates.globals.update(charts.DRAWINGS)
        self._templates.globals["navigation"] = [(entry.path, entry.link) for entry in table if entry.link]

    def render(self, template: str, values: Mapping[str, object]) -> Response:
        """A whole page."""
        return HTMLResponse(self._templates.get_template(template).render(**values))


def _clean(value: object) -> object:
    """Text as it is shown; markup is made here, of values that were cleaned and escaped one by one."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
