"""Which hosts are this very machine: what goes there passes nobody else."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address is loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
