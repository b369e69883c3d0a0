"""What is sent of an instance: the bytes as they will stand at the target, and who it is there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pacs.ports import Json
from pacs.routing.senders.association import mapped
from pacs.routing.senders.faults import FaultKind, SendingFault

_PREAMBLE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Source:
    """An instance of the archive, as the child is told of it."""

    path: str
    study: str
    series: str
    sop_class: str
    sop_instance: str
    syntax: str

    @classmethod
    def of(cls, argument: Mapping[str, Json]) -> Self:
        """Read what `OutgoingInstance.as_argument` wrote."""
        return cls(**argument)


@dataclass(frozen=True, slots=True)
class Content:
    """An instance ready to be sent.

    Attributes
    ----------
    source : what it is here.
    file : the whole DICOM file (PS3.10).
    study, series, sop_class, sop_instance, syntax : what it is at the target.
    """

    source: Source
    file: memoryview
    study: str
    series: str
    sop_class: str
    sop_instance: str
    syntax: str

    @classmethod
    def as_stored(cls, source: Source) -> Self:
        """Take the file as it is; nothing of it is read before it is sent.

        Raises
        ------
        SendingFault : it can't be read.
        """
        try:
            file = memoryview(mapped(source.path))
        except (OSError, ValueError) as error:
            raise SendingFault(
                FaultKind.OURS,
                f"The file of instance {source.sop_instance} can't be read: {error}.",
                remedy="It may have been deleted meanwhile; else look at the disk, and at the fixity check.",
            ) from error
        return cls(source, file, source.study, source.series, source.sop_class, source.sop_instance, source.syntax)

    @property
    def data_set(self) -> memoryview:
        """What follows the file meta information (PS3.10 section 7.1).

        Raises
        ------
        SendingFault : the file is no DICOM file.
        """
        start = _PREAMBLE_BYTES + 16
        if len(self.file) < start or bytes(self.file[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4]) != b"DICM":
            raise SendingFault(FaultKind.OURS, f"The file of instance {self.source.sop_instance} is no DICOM file.")
        # The first element is always (0002,0000) UL: how many bytes of meta information follow it.
        (length,) = struct.unpack_from("<I", self.file, start - 4)
        return self.file[start + length :]
