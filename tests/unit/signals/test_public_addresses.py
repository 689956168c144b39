"""Public IP addresses, by a table that no Python version changes."""

from __future__ import annotations

import pytest

from redpajama_pipe.signals.public_addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "192.0.0.9", "192.0.0.10", "224.0.0.1"),
        *("2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2001:1::1", "2001:20::1", "2003::1"),
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.0.170",
        ),
        *("192.0.2.1", "192.168.1.1", "198.19.0.1", "198.51.100.7", "203.0.113.9", "240.0.0.1", "255.255.255.255"),
        *("2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002::1", "3fff::1", "::1", "fe80::1", "fc00::1"),
        *("010.1.2.3", "1::2::3", "256.1.1.1", "x", ""),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)
