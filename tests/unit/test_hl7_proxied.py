"""The PROXY protocol's header: what names a caller, what does not, however it is cut into packets."""

from __future__ import annotations

import pytest

from pacs.hl7.proxied import LONGEST_HEADER_BYTES, HeaderFault, read_header
from pacs.hl7.settings import Hl7Settings

MESSAGE = b"\x0bMSH|^~\\&|\r\n\x1c\r"
LONG = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff"
GOOD = {
    b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 2576\r\n": "203.0.113.7",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 0 0\r\n": "10.1.2.3",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 2576\r\n": "2001:db8::7",
    b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 1 2\r\n": "2001:db8::7",
    b"PROXY TCP6 ::ffff:10.1.2.3 ::ffff:10.0.0.1 1 2\r\n": "::ffff:10.1.2.3",
    f"PROXY TCP6 {LONG}e {LONG}f 65535 65535\r\n".encode(): f"{LONG}e",
}
BAD = [
    b"\x0bMSH|^~\\&|HIS\r",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
    b" PROXY TCP4 10.1.2.3 10.0.0.1 1 2\r\n",
    b"proxy TCP4 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP5 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY tcp4 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY UDP4 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2 3\r\n",
    b"PROXY TCP4  10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2 \r\n",
    b"PROXY\tTCP4 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3\t10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.256 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 010.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3/8 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 nobody 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 10.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP6 2001:db8:::7 ::1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 65536 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 99999\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 01 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 -1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 +1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 \r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2\n\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2\rPROXY\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2\x00\r\n",
    b"PROXY TCP4 \xd9\xa1\xd9\xa0.1.2.3 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 \xd9\xa1 2\r\n",
    b"PROXY TCP4 " + b"1" * LONGEST_HEADER_BYTES,
    b"PROXY TCP4 " + b"1" * LONGEST_HEADER_BYTES + b"\r\n",
    b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2\n" + b"\x0bMSH|" * 20,
]


@pytest.mark.parametrize(("header", "address"), GOOD.items())
@pytest.mark.parametrize("more", [b"", MESSAGE, b"\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"], ids=range(4))
def test_header_names_the_caller_wherever_it_is_cut(header: bytes, address: str, more: bytes) -> None:
    """No beginning of it is taken for the whole; what follows it is the sender's."""
    whole = header + more
    for count in range(len(header)):
        assert read_header(whole[:count]) is None
    for count in range(len(header), len(whole) + 1):
        assert read_header(whole[:count]) == (address, len(header))


@pytest.mark.parametrize("header", BAD, ids=range(len(BAD)))
def test_what_is_no_header_names_nobody(header: bytes) -> None:
    """No part of it names a caller, and all of it is refused; the reason says nothing of what came."""
    told = ""
    for count in range(len(header) + 1):
        try:
            assert read_header(header[:count]) is None, header[:count]
        except HeaderFault as fault:
            told = str(fault)
    assert told
    assert not any(word in told for word in ("10.1.2", "MSH", "GET", "localhost"))


def test_header_is_not_waited_for_beyond_its_longest() -> None:
    """107 bytes without an end are too many; 106 may still become a header."""
    endless = b"PROXY TCP6 " + b"f" * 200
    assert read_header(endless[: LONGEST_HEADER_BYTES - 1]) is None
    with pytest.raises(HeaderFault, match="107 bytes"):
        read_header(endless[:LONGEST_HEADER_BYTES])


@pytest.mark.parametrize(
    ("section", "takes"),
    [
        ({}, True),
        ({"ProxyPort": 2577}, False),
        ({"ProxyPort": 2577, "AcceptUnknownPeers": True}, True),
        ({"Bind": "192.0.2.1"}, False),
    ],
)
def test_strangers_are_taken_by_default_on_loopback_alone(section: dict[str, object], takes: bool) -> None:  # noqa: FBT001
    """What NGINX passes on comes from afar, whatever address it comes from here."""
    assert Hl7Settings.model_validate(section).takes_unknown_peers is takes
