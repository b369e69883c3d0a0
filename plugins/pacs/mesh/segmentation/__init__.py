"""Masks that somebody drew or computed before: DICOM SEG and RTSTRUCT."""
