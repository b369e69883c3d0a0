"""Filters for networks written as CIDR: what OpenVPN's configuration needs and ansible-core alone can't tell."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, ip_address, ip_network


def openvpn_route(network: str) -> str:
    """Write 10.8.0.0/24 as OpenVPN does: '10.8.0.0 255.255.255.0'."""
    parsed = ip_network(network)
    return f"{parsed.network_address} {parsed.netmask}"


def openvpn_netmask(network: str) -> str:
    """Return the netmask of a network."""
    return str(ip_network(network).netmask)


def openvpn_address(network: str, share: float, offset: int = 0) -> str:
    """Return the address that lies at a share of a network (0 the first, 0.5 the middle, 1 behind the last)."""
    parsed = ip_network(network)
    return str(parsed.network_address + int(parsed.num_addresses * share) + offset)


def openvpn_is_fixed(address: str, network: str) -> bool:
    """Tell whether an address lies in a network's upper half, which is kept for fixed addresses."""
    parsed = ip_network(network)
    first = parsed.network_address + parsed.num_addresses // 2
    return first <= ip_address(address) < parsed.broadcast_address


def openvpn_is_network(network: str) -> bool:
    """Tell whether something is an IPv4 network with no bit of a host set."""
    try:
        return isinstance(ip_network(network), IPv4Network)
    except ValueError:
        return False


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {
            function.__name__: function
            for function in (openvpn_route, openvpn_netmask, openvpn_address, openvpn_is_fixed, openvpn_is_network)
        }
