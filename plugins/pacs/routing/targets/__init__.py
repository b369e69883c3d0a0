"""Where studies are sent: targets.yaml, read whole or not at all."""
