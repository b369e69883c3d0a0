"""Character sets: labels as they are sent, no character changed."""

from __future__ import annotations

import pytest

from fixtures.hl7_characters import LABELS, NAMES
from pacs.hl7.charsets import codec_of, decode, encode, specific_character_set
from pacs.hl7.errors import UndecodableText, UnencodableText, UnknownCharset
from pacs.hl7.header import Header


def message(label: str, text: str, codec: str) -> tuple[bytes, Header]:
    """Return a message that declares one thing and is encoded in another."""
    raw = f"MSH|^~\\&|HIS||||||ADT^A08|1|P|2.5||||||{label}\rPID|1||7||{text}\r".encode(codec)
    return raw, Header.scan(raw)


@pytest.mark.parametrize(("label", "codec"), LABELS)
@pytest.mark.parametrize("name", NAMES)
def test_decode_changes_no_character_of_a_name(label: str, codec: str, name: str) -> None:
    """Whatever a sender declares and sends, the name is the name, and the bytes can be made again."""
    raw, header = message(label, name, codec)
    decoded = decode(raw, header)
    assert decoded.text.split("|")[-1] == f"{name}\r"
    assert decoded.text.encode(decoded.codec) == raw


@pytest.mark.parametrize(
    ("label", "text", "codec"),
    [
        ("8859/2", "Łódź", "iso8859-2"),
        ("8859/5", "Иванов", "iso8859-5"),
        ("8859/7", "Παπαδόπουλος", "iso8859-7"),
        ("8859/9", "Şahin", "iso8859-9"),
        ("GB18030-2000", "联通", "gb18030"),
        ("GB 18030-2000", "王^小东", "gb18030"),
        ("KS X 1001", "김^희중", "euc_kr"),
        ("BIG-5", "許^功蓋", "big5"),
        ("ISO IR14", "ﾔﾏﾀﾞ", "shift_jis"),
        ("~ISO IR87", "山田^太郎", "iso2022_jp_2"),
        ("ISO-2022-JP", "山田", "iso2022_jp_2"),
        ("JIS X 0202", "山田^太郎", "iso2022_jp_2"),
        ("JAS2020", "山田^太郎", "iso2022_jp_2"),
        ("8859/1~UNICODE UTF-8", "MUÑOZ", "utf-8"),
        ("8859/1~UNICODE UTF-8", "MUÑOZ", "latin-1"),
        ("UNICODE UTF-8~8859/1", "MUÑOZ", "latin-1"),
        ("8859/1~ISO IR87", "MUÑOZ", "utf-8"),
        ("8859/1", "\x1b(8U\x1b(s3BMUÑOZ\x1b&l0O", "latin-1"),
        ("8859/1", "“Café” – 5 €", "cp1252"),
        ("", "O’Higgins", "cp1252"),
        ("UNICODE UTF-8", "😀 o\u0301", "utf-8"),
        ("wrong", "plain", "ascii"),
        ("x~y", "plain", "ascii"),
    ],
)
def test_decode_reads_the_sets_of_table_0211_and_beyond(label: str, text: str, codec: str) -> None:
    """Second bytes that look like separators are none, since text is decoded before it is split."""
    raw, header = message(label, text, codec)
    assert decode(raw, header).text.split("7||", 1)[1] == f"{text}\r"


@pytest.mark.parametrize(
    ("label", "codec", "was_sniffed"),
    [("8859/1", "latin-1", False), ("8859/1", "utf-8", True), ("UTF-8", "utf-8", False), ("UTF-8", "latin-1", True)],
)
def test_decode_tells_what_was_not_as_declared(label: str, codec: str, was_sniffed: bool) -> None:  # noqa: FBT001
    """The journal can show that a sender declares what it does not send."""
    assert decode(*message(label, "Ñ", codec)).was_sniffed is was_sniffed


@pytest.mark.parametrize("label", ["", "8859/1", "UNICODE UTF-8", "ISO IR14", "ASCII", "KLINGON"])
@pytest.mark.parametrize("codec", ["iso2022_jp_2", "iso2022_kr"])
def test_decode_takes_no_changes_of_the_set_for_letters(label: str, codec: str) -> None:
    """A name that is written with escape sequences, which nobody declared, is refused, and the sender told."""
    raw, header = message(label, "田中", codec)
    with pytest.raises((UndecodableText, UnknownCharset)):
        decode(raw, header)


def test_decode_reads_changes_of_the_set_where_the_peer_s_default_has_them() -> None:
    """A sender that fills no MSH-18 is read as it is set, and nothing else is tried for half of the text."""
    raw, header = message("", "山田^太郎", "iso2022_jp_2")
    assert "山田^太郎" in decode(raw, header, default="ISO IR87").text
    with pytest.raises(UndecodableText):
        decode(raw + b"PV1|\xd1\r", header, default="ISO IR87")
    raw, header = message("ISO IR87", "山田^太郎", "iso2022_jp_2")
    with pytest.raises(UndecodableText):
        decode(raw + b"PV1|\xd1\r", header)


def test_decode_believes_the_declaration_when_sniffing_is_off() -> None:
    """A peer's rule: what it says is what it sends."""
    assert decode(*message("8859/1", "ñ", "utf-8"), sniff_utf8=False).codec == "iso8859-1"


def test_decode_uses_the_default_of_the_peer() -> None:
    """A sender that fills no MSH-18 is read as the peer is set."""
    raw, header = message("", "Łódź", "iso8859-2")
    assert "Łódź" in decode(raw, header, default="8859/2").text


@pytest.mark.parametrize(
    ("label", "tail", "default", "error"),
    [
        ("UNICODE UTF-8", "Ñ".encode() + b"\xd1", "8859/1", UndecodableText),
        ("UNICODE UTF-8", b"\xd1", "UNICODE UTF-8", UndecodableText),
        ("CP1253", b"\xaa", "8859/1", UndecodableText),
        ("KLINGON", b"\xd1", "8859/1", UnknownCharset),
        ("", b"\xd1", "UTF-8", UndecodableText),
    ],
)
def test_decode_refuses_rather_than_guess(label: str, tail: bytes, default: str, error: type[Exception]) -> None:
    """Text that could only be read with a letter lost or made up is not read."""
    raw, header = message(label, "", "ascii")
    with pytest.raises(error):
        decode(raw + tail, header, default=default)


@pytest.mark.parametrize(
    ("label", "codec"),
    [("iso_8859-1", "iso8859-1"), ("ISO IR100", "iso8859-1"), ("ISO_IR 100", "iso8859-1"), ("latin1", "iso8859-1")],
)
def test_codec_of_does_not_mind_the_spelling(label: str, codec: str) -> None:
    """One set, many names."""
    assert codec_of(label) == codec


@pytest.mark.parametrize("label", ["", "unicode_escape", "idna", "utf-7", "rot13", "hex", "KLINGON"])
def test_codec_of_knows_no_other_codecs(label: str) -> None:
    """What Python calls a codec is not therefore a character set of messages."""
    assert codec_of(label) is None


def test_encode_is_strict() -> None:
    """What a peer's set lacks is told, never replaced."""
    assert encode("MUÑOZ", "8859/1") == b"MU\xd1OZ"
    with pytest.raises(UnencodableText):
        encode("山田", "8859/1")
    with pytest.raises(UnknownCharset):
        encode("A", "KLINGON")


@pytest.mark.parametrize(
    ("text", "wanted", "given"),
    [
        ("MUÑOZ", "ISO_IR 100", "ISO_IR 100"),
        ("MUÑOZ", "ISO_IR 192", "ISO_IR 192"),
        ("Łódź", "ISO_IR 100", "ISO_IR 192"),
        ("Łódź", "ISO_IR 101", "ISO_IR 101"),
        ("A", "nonsense", "ISO_IR 192"),
    ],
)
def test_specific_character_set_is_the_wanted_one_when_it_has_the_letters(text: str, wanted: str, given: str) -> None:
    """A modality gets what it can read, unless that would cost a letter."""
    assert specific_character_set(text, wanted) == given
