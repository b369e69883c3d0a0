"""Character sets: from the bytes of a message to text and on into DICOM, no character ever replaced.

Source: HL7 v2.5.1 table 0211; DICOM PS3.3 C.12.1.1.2 and PS3.5 6.1; labels beyond them are what systems send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pacs.hl7.errors import UndecodableText, UnencodableText, UnknownCharset
from pacs.hl7.header import Header

UNICODE = "ISO_IR 192"
LATIN_1 = "ISO_IR 100"
DEFAULT_LABEL = "8859/1"
_LOCATION = "MSH^1^18"
_ESC = b"\x1b"
# What Latin-1 has no letters for and Windows has: typographic quotes, the euro sign.
_WINDOWS_ONLY = re.compile(rb"[\x80-\x9f]")
_MULTIBYTE_SEQUENCE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}")
# Escape sequences that change the character set (ISO 2022); those of printers, with digits and small letters, are none.
_CHANGE_OF_SET = re.compile(rb"\x1b(?:\$[()*+\-./]?[@-~]|\([BIJ]|\)I|[\-./][A-Z])")
_SINGLE_BYTE = ("iso8859", "cp", "koi8")
_JAPANESE_WITH_ESCAPES = "iso2022_jp_2"


def _known_labels() -> dict[str, str]:
    """Return codecs by label, the label in capitals without signs: "ISO-8859-1" and "ISO 8859/1" are one."""
    labels = {
        "ASCII": "ascii",
        "USASCII": "ascii",
        "ISOIR6": "ascii",
        "ISOIR14": "shift_jis",
        "ISOIR87": _JAPANESE_WITH_ESCAPES,
        "ISOIR159": _JAPANESE_WITH_ESCAPES,
        "ISOIR13": "shift_jis",
        "ISOIR192": "utf-8",
        "ISOIR149": "euc_kr",
        "ISOIR58": "gb2312",
        "ISO2022JP": _JAPANESE_WITH_ESCAPES,
        "JISX0202": _JAPANESE_WITH_ESCAPES,
        "JAS2020": _JAPANESE_WITH_ESCAPES,
        "SHIFTJIS": "shift_jis",
        "SJIS": "shift_jis",
        "EUCJP": "euc_jp",
        "EUCKR": "euc_kr",
        "KSX1001": "euc_kr",
        "BIG5": "big5",
        "GB2312": "gb2312",
        "GBK": "gbk",
        "GB18030": "gb18030",
        "GB180302000": "gb18030",
        # Table 0211 knows UNICODE alone as well; single bytes of ASCII in front of it can be nothing but UTF-8.
        **dict.fromkeys(("UNICODE", "UNICODEUTF8", "UTF8", "AL32UTF8", "UTF8MB4"), "utf-8"),
        **dict.fromkeys(("LATIN1", "L1", "ANSI"), "iso8859-1"),
        "LATIN9": "iso8859-15",
        "WE8MSWIN1252": "cp1252",
        "KOI8R": "koi8-r",
    }
    for part in (*range(1, 12), *range(13, 17)):
        for spelled in (f"8859{part}", f"ISO8859{part}", f"WE8ISO8859P{part}", f"ISOIEC8859{part}"):
            labels[spelled] = f"iso8859-{part}"
    for registration, part in {100: 1, 101: 2, 109: 3, 110: 4, 144: 5, 127: 6, 126: 7, 138: 8, 148: 9}.items():
        labels[f"ISOIR{registration}"] = f"iso8859-{part}"
    labels |= {"ISOIR166": "iso8859-11", "ISOIR203": "iso8859-15"}
    for page in (437, 850, 858, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258):
        for spelled in (f"CP{page}", f"WINDOWS{page}", f"WIN{page}", f"IBM{page}", f"PC{page}"):
            labels[spelled] = f"cp{page}"
    return labels


_LABELS = _known_labels()


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message's text.

    Attributes
    ----------
    codec : Python's name of what it was decoded with.
    was_sniffed : True when that is not what MSH-18 (or, without it, the peer's default) says.
    """

    text: str
    codec: str
    was_sniffed: bool


def codec_of(label: str) -> str | None:
    """Return Python's codec for a label of MSH-18 or of DICOM, however it is spelled; None for an unknown one."""
    return _LABELS.get(re.sub(r"[^A-Z0-9]", "", label.upper()))


def decode(raw: bytes, header: Header, *, default: str = DEFAULT_LABEL, sniff_utf8: bool = True) -> Decoded:
    """Decode a whole message, before it is split: a second byte may look like a separator.

    What the message declares is believed with these exceptions, all of them without doubt about the characters:
    text declared as a set of single bytes that is valid UTF-8 is UTF-8 (when `sniff_utf8`); text declared as UTF-8 or
    ASCII that is neither is in the peer's default; Latin-1 with bytes that only Windows gives letters is Windows-1252.

    Parameters
    ----------
    default : label for a peer that does not fill MSH-18, or fills it wrongly.
    sniff_utf8 : whether UTF-8 is recognized where something else is declared.

    Raises
    ------
    UnknownCharset
        When all of MSH-18 (or `default`) is unknown and the text is beyond ASCII.
    UndecodableText
        When the bytes are not in the declared character set nor, where that is tried, in another.
    """
    if raw.isascii() and _ESC not in raw:
        return Decoded(raw.decode("ascii"), "ascii", was_sniffed=False)
    known = [codec for name in header.charset_names if (codec := codec_of(name))]
    declared = [codec for codec in known if codec != "ascii"]
    if _ESC in raw and _JAPANESE_WITH_ESCAPES in declared:
        declared = [_JAPANESE_WITH_ESCAPES]
    # Who declares what nobody knows may not be taken for who declares nothing.
    is_unknown = bool(header.charset_names) and not known
    fallback = None if is_unknown else codec_of(default)
    trusted = declared or ([fallback] if fallback else [])
    if _ESC in raw and _CHANGE_OF_SET.search(raw):
        # Any set that knows no such sequences would take what follows them for other letters.
        trusted = [codec for codec in trusted if codec == _JAPANESE_WITH_ESCAPES]
        if not trusted:
            raise _undecodable(header, default, is_known=not is_unknown)
        fallback = None
    for codec in _candidates(raw, trusted, fallback, sniff_utf8=sniff_utf8):
        text = _decoded(raw, codec)
        if text is not None:
            return Decoded(text, codec, was_sniffed=codec not in trusted)
    raise _undecodable(header, default, is_known=bool(trusted))


def _undecodable(header: Header, default: str, *, is_known: bool) -> UnknownCharset | UndecodableText:
    if is_known:
        names = ", ".join(name for name in header.charset_names if codec_of(name)) or default
        return UndecodableText(
            f"The text is not in the character set declared ({names}).",
            remedy="Declare in MSH-18 what is sent; UNICODE UTF-8 is best.",
            location=_LOCATION,
        )
    return UnknownCharset(
        "MSH-18 names a character set that is not known here.",
        remedy="Use UNICODE UTF-8, or a name of HL7 table 0211.",
        location=_LOCATION,
    )


def _candidates(raw: bytes, trusted: Sequence[str], fallback: str | None, *, sniff_utf8: bool) -> list[str]:
    """Return the codecs to try, the likeliest first."""
    codecs = list(trusted)
    single = [codec.startswith(_SINGLE_BYTE) for codec in trusted]
    if sniff_utf8 and (any(single) or not trusted):
        # A set of single bytes takes everything, and would make two letters of one.
        codecs.insert(0, "utf-8")
    if not all(single) and fallback and not _MULTIBYTE_SEQUENCE.search(raw):
        # With a sequence of UTF-8 among the bytes, a single-byte set would make two letters of one.
        codecs.append(fallback)
    if _WINDOWS_ONLY.search(raw):
        codecs = [choice for codec in codecs for choice in (["cp1252", codec] if codec == "iso8859-1" else [codec])]
    return codecs


def _decoded(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def encode(text: str, label: str) -> bytes:
    """Encode a message for a peer.

    Raises
    ------
    UnknownCharset
        When the label is none that is known.
    UnencodableText
        When the text has characters that the set lacks.
    """
    codec = codec_of(label)
    if codec is None:
        raise UnknownCharset(f"The character set {label!r} is not known here.", remedy="Use UNICODE UTF-8 or 8859/1.")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise UnencodableText(
            f"{label} lacks {error.end - error.start} character(s) of the message.",
            remedy="Set the peer's Charset to UNICODE UTF-8.",
        ) from None


def specific_character_set(text: str, wanted: str = UNICODE) -> str:
    """Return the Specific Character Set (0008,0005) for a text: the wanted one, or ISO_IR 192 when that lacks a letter.

    Parameters
    ----------
    wanted : a defined term of PS3.3 C.12.1.1.2 without code extensions, such as "ISO_IR 100".
    """
    # Here, not above: the settings and the receiver know charsets too, and have no use for pydicom.
    from pydicom.charset import python_encoding  # noqa: PLC0415

    try:
        text.encode(python_encoding[wanted])
    except (KeyError, UnicodeEncodeError):
        return UNICODE
    return wanted
