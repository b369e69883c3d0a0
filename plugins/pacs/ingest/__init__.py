"""What is looked at before Orthanc may store it: ZIP files, and DICOM files that would end or choke it."""
