"""Why no model can be made: each refusal says what was expected, found and where, and names the instance at fault.

The instance is named by its SOP Instance UID; nothing of the patient is in any message.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pacs.errors import PacsError


class MeshError(PacsError):
    """No model can be made of what was given.

    Attributes
    ----------
    sop_instance_uids : the instances at fault, if it is the fault of some.
    """

    code = "mesh"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, message: str, *, remedy: str = "", sop_instance_uids: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.sop_instance_uids = tuple(sop_instance_uids)


class MeshCancelled(MeshError):
    """Whoever asked does not want it any more."""

    code = "mesh-cancelled"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__("The 3D export was cancelled before it was done.")


class MeshTooLarge(MeshError):
    """It would need more memory than there is for it."""

    code = "mesh-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NoImages(MeshError):
    """Nothing in it is an image of which a volume could be made."""

    code = "mesh-no-images"


class UnreadableInstance(MeshError):
    """A file is no DICOM, or damaged."""

    code = "mesh-unreadable-instance"


class TruncatedInstance(MeshError):
    """A file ends before its pixels do."""

    code = "mesh-truncated-instance"


class UndecodableInstance(MeshError):
    """The pixels of an instance can't be decoded."""

    code = "mesh-undecodable-instance"


class UnsuitablePixels(MeshError):
    """The pixels are no measured values: color, palettes, single bits."""

    code = "mesh-unsuitable-pixels"


class Localizers(MeshError):
    """The images are overviews, not slices."""

    code = "mesh-localizers"


class SingleImage(MeshError):
    """One slice is no volume."""

    code = "mesh-single-image"


class NoPosition(MeshError):
    """An instance does not say where it lies in the patient."""

    code = "mesh-no-position"


class MixedSizes(MeshError):
    """Slices of one stack differ in rows, columns or pixel spacing."""

    code = "mesh-mixed-sizes"


class MissingSlice(MeshError):
    """There is a hole between two slices."""

    code = "mesh-missing-slice"


class SlicesOutOfLine(MeshError):
    """Slices are shifted sideways against each other, so that they form no straight stack."""

    code = "mesh-slices-out-of-line"


class SamePlaceTwice(MeshError):
    """Different images lie in the same place, and nothing tells which belong together."""

    code = "mesh-same-place-twice"


class SeveralVolumes(MeshError):
    """The series holds several volumes and one has to be chosen."""

    code = "mesh-several-volumes"
    status = HTTPStatus.CONFLICT


class UnknownSubVolume(MeshError):
    """The series has no volume of this name."""

    code = "mesh-unknown-sub-volume"
    status = HTTPStatus.NOT_FOUND


class NoSegmentation(MeshError):
    """The instance is no DICOM SEG or RTSTRUCT that can be used."""

    code = "mesh-no-segmentation"


class UnknownSegment(MeshError):
    """The segmentation has no segment or region of this number."""

    code = "mesh-unknown-segment"
    status = HTTPStatus.NOT_FOUND


class EmptySegment(MeshError):
    """The segment or region has no voxel or contour."""

    code = "mesh-empty-segment"


class UnsuitableContour(MeshError):
    """A contour does not enclose an area in a slice."""

    code = "mesh-unsuitable-contour"


class OtherFrameOfReference(MeshError):
    """Image and segmentation do not share a coordinate system."""

    code = "mesh-other-frame-of-reference"


class EmptyPart(MeshError):
    """Nothing in the images is what a part of the model asks for."""

    code = "mesh-empty-part"
