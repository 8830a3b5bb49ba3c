"""JSON responses, encoded by the same codec as all other JSON of this project."""

from starlette.responses import Response

from skerry_host.json_text import json_text


def json_response(data: object, status: int = 200) -> Response:
    """Any value that msgspec encodes; it misleads no terminal that it is shown on."""
    return Response(json_text(data, indent=None), status, media_type="application/json")
