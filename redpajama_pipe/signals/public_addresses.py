"""Whether an IP address is one of the public Internet, by a table of its own, so that every Python says the same.

datatrove asks `ipaddress.is_global`, whose table changes with Python's releases. This is that of 3.13, with 3fff::/20,
and of IPv6 only what lies in 2000::/3: the global unicast addresses.

Source: IANA, IPv4 and IPv6 Special-Purpose Address Registries; RFC 9637.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

_PRIVATE_4 = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    )
]
_PUBLIC_4 = [IPv4Network(network) for network in ("192.0.0.9/32", "192.0.0.10/32")]
_UNICAST_6 = IPv6Network("2000::/3")
_PRIVATE_6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_ASSIGNED_6 = ("2001:1::1/128", "2001:1::2/128", "2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28")
_PUBLIC_6 = [IPv6Network(network) for network in _ASSIGNED_6]


def is_public(text: str) -> bool:
    """Say whether a text is the address of a public host; False where it is no address."""
    try:
        address = ip_address(text)
    except ValueError:  # 010.1.2.3, 1::2::3
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_4) or any(address in network for network in _PUBLIC_4)
    if address not in _UNICAST_6:
        return False
    return not any(address in network for network in _PRIVATE_6) or any(address in network for network in _PUBLIC_6)
