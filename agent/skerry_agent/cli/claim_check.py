"""Before a device has enrolled, for the doctor: whether there is a claim, and whether the enrolment listener takes it.

Connects once, with the claim; asks for nothing.
"""

import os

from skerry_agent.config import AgentConfig


def has_claim(config: AgentConfig) -> bool:
    """Whether there is something where agent.toml says that the claim is; a service's credential may be a blank."""
    if config.enrolment is None:
        return False
    try:
        return bool(config.beside(config.enrolment.claim_file).read_bytes().strip())
    except OSError:
        return False


def check_claim(config: AgentConfig) -> tuple[bool, str]:
    """(whether it is taken, what there is to say of it), for a device that has a claim."""
    from skerry_agent.supervisor.link_check import try_to_connect  # noqa: PLC0415 - it imports paho
    from skerry_agent.supervisor.link_security import LinkSecurity  # noqa: PLC0415 - it imports ssl

    where, section = config.enrolment_address, config.enrolment
    assert where is not None
    assert section is not None
    files = config.beside(section.claim_file), config.beside(section.key_file)
    nobody = os.urandom(8).hex()  # of another's id, that other would be thrown out
    problem = try_to_connect(where, nobody, LinkSecurity(config.broker_ca, *files))
    if problem is not None:
        return False, f"no connection to {where.place}, where this device is to enrol: {problem}"
    return True, f"{where.place}, where this device is to enrol, answers and takes its claim"
