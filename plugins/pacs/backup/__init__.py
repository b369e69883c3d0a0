"""Backups that are proven: files and database sent to several places, restored every month by themselves."""
