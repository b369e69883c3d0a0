"""What is changed in an instance before it leaves: identity, attributes, transfer syntax."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset, config, dcmread
from pydicom.dataset import FileDataset

from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.transcoding import first_that_holds, transcode

# A value that breaks a rule of DICOM is passed on as it came: it is the modality's, not ours to correct.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE

# Takes the identity out of a data set, in place or not, and returns it. Raises SendingFault.
type Deidentify = Callable[[FileDataset], FileDataset]


@dataclass(frozen=True)
class Converting:
    """Converts instances. Its instances may be called from several threads.

    Attributes
    ----------
    changes : DICOM keywords and the values they get.
    """

    quality: int | None
    deidentify: Deidentify | None
    changes: Mapping[str, str]

    @property
    def always(self) -> bool:
        """Whether every instance is another one afterwards."""
        return self.deidentify is not None or bool(self.changes)

    def __call__(self, source: Source, syntaxes: Sequence[str]) -> Content:
        """Return an instance ready to be sent, in the first of `syntaxes` that can hold it if it has pixels.

        Raises
        ------
        SendingFault : it can't be converted; then it is not sent at all.
        """
        try:
            dataset = dcmread(source.path)
            if self.deidentify is not None:
                dataset = self.deidentify(dataset)
            for keyword, value in self.changes.items():
                setattr(dataset, keyword, value)
            transcode(dataset, first_that_holds(dataset, syntaxes), self.quality)
            file = _written(dataset)
        except SendingFault:
            raise
        except Exception as error:
            raise SendingFault(
                FaultKind.OURS,
                f"Instance {source.sop_instance} can't be converted: {type(error).__name__}.",
                remedy="Look at the image; it is not sent as it is, for that is not what was ordered.",
            ) from error
        return Content(source, memoryview(file), *_who(dataset))


def _written(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _who(dataset: Dataset) -> tuple[str, str, str, str, str]:
    return (
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.file_meta.TransferSyntaxUID),
    )
