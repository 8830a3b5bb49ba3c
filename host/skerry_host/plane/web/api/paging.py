"""Answers a part at a time: what a request asks for, and the header `Link` that says where the next part is (RFC 8288).

A value that cannot be read counts as none: an answer is never larger than `MOST`.
"""

from urllib.parse import urlencode

from starlette.responses import Response

from skerry_host.plane.views.gather import PAGE
from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response

MOST = 1000


def limit(query: Query) -> int:
    """How many are asked for."""
    return max(1, min(_number(query, "limit", PAGE), MOST))


def cursor(query: Query) -> str:
    """The name to go on after."""
    return query.request.query_params.get("cursor", "")


def number(query: Query) -> int:
    """The number to go on at."""
    return _number(query, "cursor", 0)


def linked(query: Query, data: object, following: str | None) -> Response:
    """The data, with the address of the next part if there is one."""
    answer = json_response(data)
    if following is not None:
        where = urlencode({"limit": limit(query), "cursor": following})
        answer.headers["Link"] = f'<{query.request.url.path}?{where}>; rel="next"'
    return answer


def _number(query: Query, name: str, default: int) -> int:
    text = query.request.query_params.get(name, "")
    return min(int(text), 10**9) if text.isascii() and text.isdigit() else default
