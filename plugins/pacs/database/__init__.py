"""The plugins' own database: SQLite embedded, PostgreSQL in production, one schema history for both."""

from pacs.database.base import Base
from pacs.database.connection import Database
from pacs.database.types import Identifier, JsonDocument, UtcDateTime

__all__ = ["Base", "Database", "Identifier", "JsonDocument", "UtcDateTime"]
