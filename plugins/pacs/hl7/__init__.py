"""HL7 v2: messages taken in durably, answered truthfully, and what becomes of them."""
