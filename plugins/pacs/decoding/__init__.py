"""Images that Orthanc can't decode itself, decoded in child processes that may die without harm.

Orthanc 1.12.7 without GDCM reads no JPEG 2000 and no High-Throughput JPEG 2000. `Decoder` does it for it: Orthanc asks
through its transcoder callback whenever somebody wants such an image in another form (C-MOVE and C-GET to a station
that does not take it, previews, rendered and uncompressed DICOMweb), the pages ask for thumbnails and single frames.
The codec is OpenJPEG by way of pydicom, which gives every sample as it was stored: up to 16 bits, signed or not.
"""
