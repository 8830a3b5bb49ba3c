"""Who is denied, and who still comes the old way: what a broker's access rules depend on beside `rights`. Pure.

A *label* names one state of the rules: the registry's version, and a hash over what they say. The canary's topic has it
in its name, so whether a broker has taken the newest rules can be tried out from outside.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from skerry_agent.wire.enrolment import CANARY_NAME, OLD_NAME, PLANE_NAME
from skerry_host.plane.broker.mosquitto_acl import denied, lines_of, pattern_lines, user_lines
from skerry_host.plane.broker.rights import DEVICE, ENROLLING, OLD_WAY, PLANE, Rights, canary


@dataclass(frozen=True)
class Access:
    """`revoked`: names of certificates; `old_way`: devices without one; `version`: the registry's, of both.

    `members`: the names that may come in, for brokers that need an entry for each. mosquitto does not.
    """

    revoked: frozenset[str] = frozenset()
    old_way: frozenset[str] = frozenset()
    version: int = 0
    members: frozenset[str] = frozenset()

    @cached_property  # it reads all that the rules say, and each reload asks for it several times
    def label(self) -> str:
        """Of the rules that follow from this; another release of Skerry may make others of the same."""
        texts = [text(self, "") for text in TEXTS.values()]
        digest = hashlib.sha256("\n".join((*texts, *sorted(self.members))).encode())
        return f"{self.version}-{digest.hexdigest()[:8]}"


def operation_rules(access: Access, label: str) -> str:
    """The ACL file of the operation listener: by the name in the certificate."""
    return _joined(
        *user_lines(PLANE_NAME, PLANE),
        *user_lines(CANARY_NAME, canary(label)),
        *user_lines(OLD_NAME, _of_all(access.old_way)),
        *denied(access.revoked),
        *pattern_lines(DEVICE),
    )


def enrolment_rules(access: Access, label: str) -> str:
    """The ACL file of the enrolment listener."""
    return _joined(
        *user_lines(PLANE_NAME, PLANE),
        *user_lines(CANARY_NAME, canary(label)),
        *denied(access.revoked),
        *pattern_lines(ENROLLING),
    )


def old_rules(access: Access, _label: str) -> str:
    """The ACL file of the old listener: the topics of the devices that still come that way, and of no other.

    Its clients have no names, so any of them may pass for any other of these devices, as it always was.
    """
    everyone = lines_of(_of_all(access.old_way))
    return _joined(*everyone, "user skerry", *everyone)


def _of_all(devices: frozenset[str]) -> Rights:
    """The rights of several together, each topic once."""
    each = [OLD_WAY.of(name) for name in sorted(devices)]
    write = dict.fromkeys(topic for rights in each for topic in rights.write)
    read = dict.fromkeys(topic for rights in each for topic in rights.read)
    return Rights(tuple(write), tuple(read))


def _joined(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


TEXTS: dict[str, Callable[[Access, str], str]] = {
    "operation.acl": operation_rules,
    "enrolment.acl": enrolment_rules,
    "old.acl": old_rules,
}
"""The text of each ACL file, by its name."""
