"""The go-live rehearsal from the command line: `python -m pacs.hl7.rehearse [AE ...]`.

It asks the running archive to rehearse, as its page does, and prints the sheet. Without names every modality on the
page of AEs is rehearsed. NAME=CT says what a modality is where its name doesn't.

Exit status: 0 everything passed, 1 something failed or could not be tested to its end, 2 there was no rehearsal.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from pacs.hl7.rehearse.fiction import ORDER_TYPES
from pacs.hl7.rehearse.printing import printed
from pacs.web.pages_client import add_address, pages_client

_LOOK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse, print the sheet, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with pages_client(options) as client:
            record = _rehearse(client, options)
    except (httpx.HTTPError, OSError) as error:
        sys.stderr.write(f"The archive's pages do not answer: {error}\n")
        return 2
    except _Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    sys.stdout.write(printed(record))
    return 0 if record["outcome"] == "passed" else 1


class _Refused(Exception):
    """The archive does not rehearse this."""


def _rehearse(client: httpx.Client, options: argparse.Namespace) -> Mapping[str, Any]:
    stations = [name.partition("=") for name in options.stations]
    form: dict[str, Any] = {"station": [name for name, _, _ in stations], "message_type": options.order}
    form |= {f"modality.{name}": modality for name, _, modality in stations if modality}
    form["sender"] = options.sender
    answer = _json(client.post("/pacs/hl7/rehearsal", data=form))
    while True:
        record: Mapping[str, Any] = _json(client.get(f"/pacs/hl7/rehearsal/{answer['id']}"))
        if record["ended_at"] or record["is_interrupted"]:
            return record
        time.sleep(_LOOK_SECONDS)


def _json(response: httpx.Response) -> Any:
    if response.is_error:
        try:
            raise _Refused(response.json()["detail"])
        except (ValueError, KeyError):
            raise _Refused(f"The archive answered {response.status_code} {response.reason_phrase}.") from None
    return response.json()


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="pacs.hl7.rehearse",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stations", nargs="*", metavar="AE", help="name or AE title of a modality; NAME=CT, too")
    parser.add_argument("--order", choices=ORDER_TYPES, default=ORDER_TYPES[0], help="type of the orders")
    parser.add_argument("--sender", default="", help="peer (Pacs.Hl7.Peers) in whose name they are sent")
    add_address(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
