"""Tables of the delivery ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.routing.delivery.states import DeliveryState, InstanceState

# What is under way or waits for a person. As text, for SQLite uses a partial index only for a query with literally the
# same condition; and as NOT IN, for which it can't take the index by state instead and look at each row.
IS_OPEN = "state NOT IN ('proven', 'sent', 'skipped', 'diverted', 'cut')"
_STATES = ", ".join(f"'{state}'" for state in DeliveryState)
_INSTANCE_STATES = ", ".join(f"'{state}'" for state in InstanceState)


class DeliveryRecord(Base):
    """One study on its way to one target.

    Attributes
    ----------
    series : Orthanc's identifiers of the series that go; None for all.
    transfer : {"syntax", "quality"}, see `orders.Transfer`.
    identity : the version of the project `deidentify` that it began with, see `IdentityRecord`; None before that.
    changes : DICOM keywords with their values at the target.
    alternatives : targets that take over while this one is away.
    diverted_to : the one that did.
    work_item_id : of the newest piece of work for it, in the target's queue.
    instances, sent, refused, confirmed : how many; `sent` are accepted, be they confirmed or not.
    seconds : time spent with sending `sent_bytes`.
    sent_at : when all was first accepted. proven_at : when the last proof came.
    error, remedy : why it waits or failed, with the peer's own words, and what to do.
    report : what de-identification changed at the last sending: see `deidentify.Report.as_json`.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    orthanc_study_id: Mapped[str] = mapped_column(String(44))
    study_instance_uid: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    urgency: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    series: Mapped[Any | None] = mapped_column(JsonDocument)
    transfer: Mapped[Any] = mapped_column(JsonDocument)
    deidentify: Mapped[str | None] = mapped_column(Text)
    identity: Mapped[str | None] = mapped_column(String(64))
    changes: Mapped[Any] = mapped_column(JsonDocument)
    alternatives: Mapped[Any] = mapped_column(JsonDocument)
    has_alternatives: Mapped[bool]
    diverted_to: Mapped[str | None] = mapped_column(String(64))
    work_item_id: Mapped[int | None] = mapped_column(BigInteger)
    instances: Mapped[int]
    sent: Mapped[int]
    refused: Mapped[int]
    confirmed: Mapped[int]
    sent_bytes: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Float)
    ordered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    proven_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
    report: Mapped[Any | None] = mapped_column(JsonDocument)

    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        UniqueConstraint("orthanc_study_id", "target"),
        Index("ix_deliveries_target", "target", "state", "id"),
        Index("ix_deliveries_state", "state", "id"),
        # Few of all: what is under way, and what waits for a person.
        Index(
            "ix_deliveries_open",
            "target",
            "state",
            "ordered_at",
            sqlite_where=text(IS_OPEN),
            postgresql_where=text(IS_OPEN),
        ),
        Index("ix_deliveries_changed_at", "changed_at"),
        # Identifiers tell the order: one that was forgotten must never be given again.
        {"sqlite_autoincrement": True},
    )


class DeliveredInstance(Base):
    """One instance of a delivery that the target was sent.

    Attributes
    ----------
    sop_instance_uid : as it is here.
    sent_study_uid, sent_series_uid, sent_sop_uid : as it is at the target; others where it was de-identified or
        compressed with loss.
    status : the answer, in hexadecimal for DIMSE.
    words : the peer's own.
    """

    __tablename__ = "delivered_instances"

    delivery_id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    sop_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    sent_study_uid: Mapped[str] = mapped_column(String(64))
    sent_series_uid: Mapped[str] = mapped_column(String(64))
    sent_sop_uid: Mapped[str] = mapped_column(String(64), index=True)
    status: Mapped[str] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint(f"state IN ({_INSTANCE_STATES})", name="state"),)


class IdentityRecord(Base):
    """A version of a project of de-identification that a delivery began with.

    Attributes
    ----------
    version : digest of project, texts and secret, see `identities.Identity`.
    texts : names and texts of the files that say it, deidentify.yaml first.
    kept_at : when a delivery last began with it; forgotten long after.
    """

    __tablename__ = "delivery_identities"

    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(Text)
    texts: Mapped[Any] = mapped_column(JsonDocument)
    kept_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TargetRecord(Base):
    """How a target is doing, across restarts.

    Attributes
    ----------
    away_since : since when nobody answers there; None while it does.
    succeeded_at : when it last took a study whole.
    error, remedy : the last trouble with it, in the peer's own words.
    """

    __tablename__ = "delivery_targets"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    away_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
