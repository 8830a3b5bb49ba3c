"""Imports paho without the HTTP client and the e-mail parser, which are never used here: saves 3 MB in a small process.

paho imports `urllib.request` only to look for a proxy where PySocks is installed; a link of this agent uses no proxy.
"""

import importlib
import sys
import urllib
from types import ModuleType

_HEAVY = "urllib.request"


def import_paho() -> None:
    """Import paho's client, unless it is there; whoever imports `urllib.request` afterwards gets the real one."""
    if _HEAVY in sys.modules:
        importlib.import_module("paho.mqtt.client")
        return
    stand_in = ModuleType(_HEAVY)
    vars(stand_in)["getproxies"] = dict
    sys.modules[_HEAVY] = vars(urllib)["request"] = stand_in
    try:
        importlib.import_module("paho.mqtt.client")
    finally:
        del sys.modules[_HEAVY]
