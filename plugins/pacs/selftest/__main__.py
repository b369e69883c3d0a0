"""Try each function of the archive on this machine: `python -m pacs.selftest`.

An image of a patient who does not exist is sent, shown, found, fetched by DICOM and DICOMweb and removed again; HL7 and
MPPS are asked something that changes nothing. Safe at any time. Exit status: 0 all works, 1 something does not.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs.selftest.trial import Trial, Where

_HTTP_PORT = "8042"


@dataclass
class _Printer:
    """Prints a line for each function, as it is tried."""

    failed: int = 0

    def tell(self, what: str, fault: str | None, evidence: str, seconds: float) -> None:
        self.failed += fault is not None
        verdict = "PASS" if fault is None else "FAIL"
        sys.stdout.write(f"{verdict}  {what:42} {evidence if fault is None else fault} ({seconds:.2f} s)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything, print what was found, and return the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    printer = _Printer()
    where = Where(
        options.http_port, options.dicom_port, options.aet, options.mpps_port, options.hl7_port, options.pages
    )
    with Trial(where) as trial:
        for what, test in trial.tests():
            began = time.monotonic()
            try:
                fault, evidence = None, test()
            except Exception as error:  # noqa: BLE001 - whatever it is, the function does not work: told, and on to the next
                fault, evidence = f"{type(error).__name__}: {error}", ""
            printer.tell(what, fault, evidence, time.monotonic() - began)
    return 1 if printer.failed else 0


def _parser() -> argparse.ArgumentParser:
    variable = os.environ.get
    parser = argparse.ArgumentParser(
        prog="pacs.selftest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--http-port", type=int, default=int(variable("PACS_ORTHANC_HTTP_PORT", _HTTP_PORT)))
    parser.add_argument("--dicom-port", type=int, default=int(variable("PACS_DICOM_PORT", "4242")))
    parser.add_argument("--aet", default=variable("PACS_AET", "PACS"))
    parser.add_argument("--mpps-port", type=int, default=int(variable("PACS_MPPS_PORT", "11113")))
    parser.add_argument("--hl7-port", type=int, default=int(variable("PACS_HL7_PORT", "2575")))
    parser.add_argument("--pages", type=Path, default=Path(variable("PACS_PAGES_SOCKET", "/run/pacs/pages.sock")))
    return parser


if __name__ == "__main__":
    sys.exit(main())
