"""Where devices burn patients' names into their images: masks of the site, by what the images say of their device.

A mask names the values that an image must have and the rectangles that are blanked. `blank: nothing` says of a device
that a person has looked, and that it burns nothing in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom.dataset import Dataset

from pacs.deidentify.values import text

# What a mask may ask for. Rows and Columns it must: a rectangle means nothing in an image of another size.
CONDITIONS = (
    "Manufacturer",
    "ManufacturerModelName",
    "StationName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "Modality",
    "SOPClassUID",
    "ImageType",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
)


@dataclass(frozen=True)
class Rectangle:
    """Pixels from the top left corner of the image; right and bottom are the first ones that stay."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Mask:
    """What is blanked in the images of a kind of device.

    Attributes
    ----------
    when : patterns (* and ?) by keyword, all of which an image must fit, without regard to case.
    rectangles : none where the device is known to burn nothing in.
    """

    name: str
    when: Mapping[str, str]
    rectangles: tuple[Rectangle, ...]

    def fits(self, dataset: Dataset) -> bool:
        r"""Tell whether an image is of this kind; of several values (ImageType) all are one text with \ between."""
        return all(
            fnmatchcase(text(dataset, keyword).casefold(), pattern.casefold()) for keyword, pattern in self.when.items()
        )


def masks_for(dataset: Dataset, masks: tuple[Mask, ...]) -> tuple[Mask, ...]:
    """Return every mask that fits: what any of them blanks is blanked."""
    return tuple(mask for mask in masks if mask.fits(dataset))
