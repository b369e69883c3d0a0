"""Associations that we ask for: what pynetdicom loses in a race is not lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from pacs.associations import associate

CALLED_TITLE_NOT_RECOGNIZED = (1, 7)


@pytest.fixture
def port() -> Iterator[int]:
    """Run a node that goes by the name of NODE only."""
    entity = AE(ae_title="NODE")
    entity.add_supported_context(Verification)
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert isinstance(server, ThreadedAssociationServer)
    yield server.server_address[1]
    server.shutdown()


def asking() -> AE:
    """Return an entity that asks for verification."""
    entity = AE(ae_title="PACS")
    entity.add_requested_context(Verification)
    return entity


@pytest.mark.parametrize("asleep_seconds", [0, 0.5])
def test_rejection_is_known_however_soon_it_came(port: int, asleep_seconds: float) -> None:
    """Also when it came, and the connection was closed, before the thread that asked looked."""
    sleeps = [(evt.EVT_REQUESTED, lambda _event: time.sleep(asleep_seconds))]

    association = associate(asking(), "127.0.0.1", port, ae_title="OTHER", evt_handlers=sleeps)

    assert association.is_rejected
    assert not association.is_established
    refusal = association.acceptor.primitive
    assert refusal is not None
    assert (refusal.result_source, refusal.diagnostic) == CALLED_TITLE_NOT_RECOGNIZED


def test_answer_is_left_to_its_asker(port: int) -> None:
    """The thread for incoming requests, which looks without waiting, finds nothing; who waits gets the answer."""
    association = associate(asking(), "127.0.0.1", port, ae_title="NODE")
    assert association.is_established
    try:
        assert association.send_c_echo().Status == 0
        association.dimse.msg_queue.put((1, None))
        assert association.dimse.get_msg() == (None, None)
        assert association.dimse.get_msg(block=True) == (1, None)
    finally:
        association.release()
