"""A client application of the demo: requests inferences from a device all the time and counts those that fail."""

import http.client
import json
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit

RATE_HZ = 20.0
TIMEOUT_S = 10.0


class Client(threading.Thread):
    """Sends Open Inference Protocol requests to one device over one kept-alive connection, without retries."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.lost = 0
        self._address = urlsplit(url)
        self._path = f"/v2/models/{model}"
        self._over = threading.Event()
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=TIMEOUT_S)

    def __enter__(self) -> "Client":
        self._connection.request("GET", self._path)
        metadata = json.loads(self._connection.getresponse().read())
        tensor = metadata["inputs"][0]
        count = 1
        for length in tensor["shape"]:
            count *= length
        tensor = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": tensor["shape"], "data": [0] * count}
        self._body = json.dumps({"inputs": [tensor]})
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self.join(2 * TIMEOUT_S)
        self._connection.close()

    def run(self) -> None:
        """Send requests until told to stop."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += 1 / RATE_HZ
            if self._ask():
                self.answered += 1
            else:
                self.lost += 1
                self._connection.close()
                self._connection = self._connect()

    def _ask(self) -> bool:
        try:
            self._connection.request("POST", f"{self._path}/infer", self._body)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return False
        return response.status == http.client.OK
