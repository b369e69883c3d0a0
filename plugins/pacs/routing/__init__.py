"""Routing: rules say where a study must go; deliveries are made, proven and shown."""
