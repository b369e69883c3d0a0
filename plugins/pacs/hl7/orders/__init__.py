"""Orders, appointments and patients' messages: how they are read by a mapping, and what they do to the worklist."""

from pacs.hl7.orders.errors import MappingError, NoMapping
from pacs.hl7.orders.explanation import Explained, Explanation, Notice, Unusable, UnusableMessage
from pacs.hl7.orders.handlers import OrderHandlers
from pacs.hl7.orders.library import MappingLibrary
from pacs.hl7.orders.mapper import EntryReading, OrderMapper, OrderReading, PatientReading
from pacs.hl7.orders.tables import Action
from pacs.hl7.settings import OrdersSettings

__all__ = [
    "Action",
    "EntryReading",
    "Explained",
    "Explanation",
    "MappingError",
    "MappingLibrary",
    "NoMapping",
    "Notice",
    "OrderHandlers",
    "OrderMapper",
    "OrderReading",
    "OrdersSettings",
    "PatientReading",
    "Unusable",
    "UnusableMessage",
]
