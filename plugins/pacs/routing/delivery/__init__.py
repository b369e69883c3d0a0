"""Deliveries: the ledger, the queues, and what works them."""
