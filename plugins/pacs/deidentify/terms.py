"""Attributes that must hold one of the standard's own words: an image can't be read without, and nothing searches them.

Sources: PS3.3 C.12.1.1.2 (character sets), C.7.3.1.1.1 (modalities), C.7.6.3.1.2 (photometric interpretations).
"""

from __future__ import annotations

from pydicom.charset import python_encoding

_SPECIFIC_CHARACTER_SET, _MODALITY, _PHOTOMETRIC_INTERPRETATION = 0x00080005, 0x00080060, 0x00280004
_MODALITIES = b"""
ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER
KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE
RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC
AS CD CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST VM
"""
_PHOTOMETRIC_INTERPRETATIONS = b"""
MONOCHROME1 MONOCHROME2 RGB HSV ARGB CMYK XYB YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT
"""

# The terms by tag; of several values each must be one.
TERMS = {
    _SPECIFIC_CHARACTER_SET: frozenset(term.encode("ascii") for term in python_encoding),
    _MODALITY: frozenset(_MODALITIES.split()),
    _PHOTOMETRIC_INTERPRETATION: frozenset((*_PHOTOMETRIC_INTERPRETATIONS.split(), b"PALETTE COLOR")),
}
