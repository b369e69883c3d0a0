"""Fictitious DICOM studies: for the demo of `make run`, and as building blocks for tests.

`studies` has the demo's studies and small CT series; `instances` and `documents` make single instances of the common
IODs; `syntaxes` writes them. The pictures come from phantoms: `trunk` (CT, and by projection `radiograph`), `head`
(MR) and `ultrasound`, painted with the `solids` of a `canvas`. Everything is deterministic: the same call gives the
same UIDs and the same pixels.
"""
