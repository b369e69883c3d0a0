"""The embedded deployment: what `make run` starts inside the Debian 13 root, on loopback, with SQLite."""
