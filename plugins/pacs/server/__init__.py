"""What a server runs: the service that systemd starts, and the check of its settings before."""
