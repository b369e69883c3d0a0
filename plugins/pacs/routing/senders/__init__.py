"""Ways to get instances to a target and to ask it what it has. Runs in child processes."""
