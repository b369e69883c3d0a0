"""How fast messages are read: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_reading.py`.

Reads the 14 fields that a worklist entry is made of from each real message (../shared/data/hl7; without it, from
fictitious ones) and prints messages a second, medians of interleaved runs in processor time, beside python-hl7 and
hl7apy reading the same fields.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import hl7
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from fixtures.hl7_messages import REAL_HL7, answered, corpus, fictitious
from pacs.hl7.charsets import decode
from pacs.hl7.errors import Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.paths import Path

FIELDS = (
    *("PID-3", "PID-3.4", "PID-5", "PID-5.2", "PID-7", "PID-8", "ORC-1", "ORC-2"),
    *("OBR-3", "OBR-4.2", "OBR-18", "OBR-24", "PV1-8", "ZDS-1"),
)
PLACES = [(path.segment, path.field, path.component or 1) for path in map(Path.parse, FIELDS)]
HL7APY_SHARE = 20

type Read = Callable[[bytes], object]


def ours(raw: bytes) -> object:
    """Read the fields with the tokenizer, from text that was decoded before."""
    message = Message.parse(raw)  # type: ignore[arg-type]
    found = {name: message.first(name) for name in ("PID", "ORC", "OBR", "PV1", "ZDS")}
    return [segment.text(field, part) for name, field, part in PLACES if (segment := found[name]) is not None]


def ours_from_bytes(raw: bytes) -> object:
    """Read header, character set and fields."""
    return ours(decode(raw, Header.scan(raw)).text)  # type: ignore[arg-type]


def python_hl7(raw: bytes) -> object:
    """Read the fields with python-hl7."""
    message = hl7.parse(raw)
    values = []
    for name, field, part in PLACES:
        try:
            values.append(message.segment(name)[field][0][part - 1])
        except (KeyError, IndexError):
            values.append(None)
    return values


def hl7apy(raw: bytes) -> object:
    """Read the fields with hl7apy, tolerant and without groups."""
    try:
        message = parse_message(raw, find_groups=False)
        return [getattr(getattr(message, name.lower()), f"{name.lower()}_{field}").value for name, field, _ in PLACES]
    except (HL7apyException, AttributeError, IndexError, KeyError, ValueError):
        return None  # it refuses one message in ten


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    warnings.simplefilter("ignore")
    raws = [raw for raw in _messages() if _is_readable(raw)]
    texts = [decode(raw, Header.scan(raw)).text.replace("\r\n", "\r").replace("\n", "\r") for raw in raws]
    contenders: dict[str, tuple[Read, Sequence[object]]] = {
        "ours, 14 fields of text": (ours, texts),
        "ours, 14 fields of bytes": (ours_from_bytes, raws),
        "ours, checked and answered": (answered, raws),
        "python-hl7, 14 fields of text": (python_hl7, texts),
        "hl7apy, 14 fields of text": (hl7apy, texts[::HL7APY_SHARE]),
    }
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, (read, messages) in contenders.items():
            figures[name].append(_per_second(read, messages))
    print(f"{len(raws)} messages, {sum(map(len, raws)) / len(raws):.0f} bytes each on average")
    for name, values in figures.items():
        print(f"{name:32} {statistics.median(values):10.0f} messages/s")


def _messages() -> list[bytes]:
    return [message.raw for message in corpus()] if REAL_HL7.is_dir() else fictitious()


def _is_readable(raw: bytes) -> bool:
    """Leave out what python-hl7 takes for no message either."""
    try:
        hl7.parse(decode(raw, Header.scan(raw)).text)
    except (Hl7Error, hl7.HL7Exception, IndexError, AssertionError):
        return False
    return True


def _per_second(read: Read, messages: Sequence[object]) -> float:
    started = time.process_time()
    for message in messages:
        read(message)  # type: ignore[arg-type]
    return len(messages) / (time.process_time() - started)


if __name__ == "__main__":
    main()
