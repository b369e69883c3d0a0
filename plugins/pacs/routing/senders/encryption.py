"""TLS towards a target."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from pacs.routing.senders.faults import FaultKind, SendingFault

TLS_REMEDY = (
    "Look at its certificate: who issued it must be below tls: authorities, and it must be made out to the host as it "
    "stands here. It may also want a certificate of ours (tls: certificate), or speak no TLS."
)


def tls_words(error: ssl.SSLError) -> str:
    """Return why no encrypted connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return f"no encrypted connection: {error.reason or error}"


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
