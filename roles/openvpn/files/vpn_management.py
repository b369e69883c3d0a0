#!/usr/bin/python3
"""Gives OpenVPN's management socket one command and prints its answer.

usage: pacs-vpn-management state | status | 'kill NAME'
"""

from __future__ import annotations

import socket
import sys

SOCKET = "/run/pacs-openvpn/management"
TIMEOUT_SECONDS = 5
ENDS = ("END\r\n", "SUCCESS:", "ERROR:")


def command(text: str) -> list[str]:
    """Return the answer's lines; what OpenVPN tells unasked begins with '>' and is left out."""
    lines = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(SOCKET)
        connection.sendall(f"{text}\n".encode())
        for line in connection.makefile(newline=""):
            if not line.startswith(">"):
                lines.append(line.rstrip())
                if line.startswith(ENDS):
                    break
    return lines


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    answer = command(" ".join(sys.argv[1:]))
    sys.stdout.write("".join(f"{line}\n" for line in answer))
    sys.exit(any(line.startswith("ERROR:") for line in answer))
