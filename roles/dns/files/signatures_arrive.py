"""Tells whether DNS servers hand out the root's keys with their signatures: without them nothing can be validated.

usage: signatures_arrive.py any|all ADDRESS...      prints one line a server
"""

from __future__ import annotations

import socket
import struct
import sys

# RFC 1035 section 4.1 (header, question for "." of type DNSKEY), RFC 6891 (OPT, 1232 bytes), RFC 3225 (the DO bit);
# recursion is desired: a root server ignores that, a forwarder needs it.
QUERY = struct.pack(">6H", 0x5043, 0x0100, 1, 0, 0, 1) + b"\0" + struct.pack(">2H", 48, 1)
QUERY += b"\0" + struct.pack(">2HIH", 41, 1232, 0x8000, 0)
# The answer of "." is one byte of name (or a pointer, 0xC0..), then the type: RRSIG is 46, in class IN.
SIGNATURES = (b"\0" + struct.pack(">2H", 46, 1), b"\xc0\x0c" + struct.pack(">2H", 46, 1))
TIMEOUT_SECONDS = 4


def ask(address: str) -> bytes:
    """Return the answer over TCP, which no fragment and no size can spoil."""
    with socket.create_connection((address, 53), TIMEOUT_SECONDS) as connection:
        connection.sendall(struct.pack(">H", len(QUERY)) + QUERY)
        stream = connection.makefile("rb")
        (length,) = struct.unpack(">H", stream.read(2))
        return stream.read(length)


def judge(address: str) -> tuple[bool, str]:
    """Tell whether a server hands out signatures, and what it did."""
    try:
        answer = ask(address)
    except (OSError, struct.error) as error:
        return False, f"{address} does not answer on port 53/tcp ({error or 'it closed the connection'})."
    signed = any(signature in answer for signature in SIGNATURES)
    return signed, f"{address} answers {'with' if signed else 'without'} signatures."


def main(enough: str, *addresses: str) -> int:
    """Judge the servers; 0 when all of them, or any, hand out signatures."""
    verdicts = [judge(address) for address in addresses]
    sys.stdout.write("".join(f"{text}\n" for _, text in verdicts))
    combine = all if enough == "all" else any
    return 0 if combine(good for good, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
