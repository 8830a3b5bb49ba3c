"""Why an accelerator cannot be used, as codes: the same for the device that finds it and for the host that shows it.

Pure. Each code has one remedy; which build of libedgetpu fits which TFLite is told by `library_for`.
"""

import re
from typing import Final

NO_ACCELERATOR: Final = "no_accelerator"
"""The code of agents before the others, and of what has none of its own."""


PROBLEMS: Final[dict[str, str]] = {
    NO_ACCELERATOR: "see the detail",
    "driver_absent": "install {package}",
    "driver_unfit": "install {package}, built for this system",
    "driver_too_old": "compile it with -m {have}, or upgrade libedgetpu",
    "driver_crashes": "install {package}",
    "driver_for_other_tflite": "install {package}, or use the cpu target",
    "device_absent": "connect it, and check its supply and cable",
    "device_forbidden": "install its udev rule (firmware_configs/udev), and join the group plugdev",
    "device_silent": "replug it, or start the board anew",
    "device_busy": "let no other process use it, or replug it",
    "device_lost": "replug it, and let no other process use it",
    "runtime_unfit": "see the detail",
}
"""Every reason for which a device goes on with its cpu bundle, and what to do about it.

The driver is libedgetpu: not there; there, and of no use on this system; too old for the model; crashing by itself;
crashing or failing once a model is loaded, as one does that was built for another TFLite release. The device is not
connected; may not be opened by this user; does not answer; is held by another process; was lost while it served. Or it
is the inference runtime beside the driver that does not work.
"""

OTHER_BUILDS: Final = "github.com/feranick/libedgetpu, releases"
"""Where builds for TensorFlow 2.15 and later are published; the vendor's own end with TensorFlow 2.5."""
VENDORS_NEWEST_TFLITE: Final = (2, 11)
"""The newest TFLite that the vendor's libedgetpu 16.0 works with (github.com/google-coral/edgetpu issue 812)."""
FITS_FROM_2_12: Final = "2.16.1"
"""The build whose notes name tflite-runtime 2.11.1 to 2.16.1."""
NEWEST_TFLITE: Final = "2.19.1"
"""The newest that a build is published for (github.com/google-coral/libedgetpu pull request 70)."""


def library_for(distribution: str, version: str) -> str:
    """The package of libedgetpu to take beside a runtime."""
    if distribution == "tflite-runtime":
        parts = tuple(map(int, re.findall(r"\d+", version)[:2]))
        if parts and parts <= VENDORS_NEWEST_TFLITE:
            return "libedgetpu1-std 16.0 of the vendor's Debian repository"
        build = FITS_FROM_2_12 if parts <= (2, 16) else ".".join(map(str, parts))
        return f"a libedgetpu1-std that was built for TensorFlow {build} ({OTHER_BUILDS})"
    return f"a libedgetpu1-std that was built for TensorFlow {NEWEST_TFLITE}, the newest there is ({OTHER_BUILDS})"
