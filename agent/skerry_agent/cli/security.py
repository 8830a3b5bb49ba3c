"""What agent.toml and the state folder say of the connection to the broker, as the link takes it. Reads no file."""

from skerry_agent.config import AgentConfig
from skerry_agent.supervisor.link_security import LinkSecurity


def security_of(config: AgentConfig) -> LinkSecurity:
    """The files of the section `broker`; without a certificate there, the identity of the state folder, if any."""
    broker = config.broker
    cert, key = config.broker_file(broker.cert_file), config.broker_file(broker.key_file)
    if cert is None and key is None and (config.identity_dir / "device.key").exists():
        cert, key = config.identity_dir / "device.pem", config.identity_dir / "device.key"
    return LinkSecurity(
        ca_file=config.broker_ca,
        cert_file=cert,
        key_file=key,
        credentials_file=config.broker_file(broker.credentials_file),
    )
