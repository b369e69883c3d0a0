"""By which names the golden signal is known, wherever it shows: in the worklist, in logs, at the AEs.

It passes through the same tables as patients do; who counts or lists patients leaves these out.
"""

from __future__ import annotations

PATIENT_PREFIX = "PROBE-"
AE_TITLE = "PACSPROBE"
# Of the peer that sends its orders, and of the destination that is told of them.
PEER = "golden-signal"
APPLICATION = "PACSPROBE"
