"""JSON responses, encoded by the same codec as all other JSON of this project."""

import msgspec
from starlette.responses import Response


def json_response(data: object, status: int = 200) -> Response:
    """Any value that msgspec encodes."""
    return Response(msgspec.json.encode(data), status, media_type="application/json")
