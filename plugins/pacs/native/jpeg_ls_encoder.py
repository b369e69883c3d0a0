"""DCMTK's JPEG-LS encoder, taken out of service in this process.

Debian 13's libdcmtkcharls is built with its assertions on, and they are wrong for signed images with fewer bits
stored than allocated: asking for such an image in JPEG-LS (`/instances/{id}/file?transcode=1.2.840.10008.1.2.4.80`,
DICOMweb, WADO, a job that is resumed at each start) aborts Orthanc. `DJLSEncoderRegistration::cleanup()` is DCMTK's
own way to take its encoder back. Orthanc then answers that it cannot make JPEG-LS. Reading JPEG-LS is another class
and keeps working.
"""

from __future__ import annotations

import ctypes
import logging

_LOG = logging.getLogger(__name__)
_LIBRARY = "libdcmjpls.so.19"
_CLEANUP = "_ZN23DJLSEncoderRegistration7cleanupEv"


def switch_off_jpeg_ls_encoder() -> bool:
    """Unregister the encoder; return False, with a warning in the log, where DCMTK is not the version that we know.

    Call while plugins are loaded: Orthanc registers its codecs before that and looks at them from many threads
    afterwards.
    """
    try:
        cleanup = getattr(ctypes.CDLL(_LIBRARY), _CLEANUP)
    except (OSError, AttributeError) as error:
        _LOG.warning("JPEG-LS encoding stays on, and a request for it can end Orthanc: %s", error)
        return False
    cleanup.restype = None
    cleanup()
    return True
