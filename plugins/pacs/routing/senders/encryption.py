"""TLS towards a target."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from pacs.routing.senders.faults import FaultKind, SendingFault


def context_of(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """Return how to encrypt as `model.Tls` says it.

    Raises
    ------
    SendingFault : a certificate or key can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=tls.get("authorities"))
        if not tls.get("verify", True):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls.get("certificate"):
            context.load_cert_chain(tls["certificate"], tls.get("key"))
    except (OSError, ssl.SSLError) as error:
        raise SendingFault(
            FaultKind.OURS, f"A certificate of the target can't be used: {error}.", remedy="Check the paths below tls."
        ) from error
    return context
