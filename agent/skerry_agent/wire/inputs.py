"""What feeds a model beside the inference API, as agent.toml, an order of settings and a runner's job say it. Pure."""

from msgspec import Struct


class ReplaySource(Struct, frozen=True, tag="replay"):
    """Feed the `inputs` array of an .npz file in a loop at `rate_hz`."""

    path: str
    rate_hz: float = 10.0

    @property
    def label(self) -> str:
        """What it is called in issues."""
        return f"replay source {self.path}"


class DirectorySource(Struct, frozen=True, tag="directory"):
    """Feed each .npy file (one raw sample) that appears in a folder, then move it to `done/` or `bad/` in it."""

    path: str
    poll_s: float = 0.5

    @property
    def label(self) -> str:
        """What it is called in issues."""
        return f"watched folder {self.path}"


class CameraSource(Struct, frozen=True, tag="camera"):
    """Feed RGB frames of a V4L2 camera (`/dev/video0`) or of a video file, at most `rate_hz` of them each second."""

    path: str = "/dev/video0"
    rate_hz: float = 10.0
    width: int | None = None
    height: int | None = None

    @property
    def label(self) -> str:
        """What it is called in issues."""
        return f"camera source {self.path}"


InputSourceSpec = ReplaySource | DirectorySource | CameraSource
