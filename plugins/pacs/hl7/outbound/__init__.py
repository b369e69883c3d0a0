"""HL7 v2 to the hospital's systems: what happened to an order, each message durable until it is acknowledged."""
