"""What is looked at before anything changes: a module a subject, each check a generator of faults."""
