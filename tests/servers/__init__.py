"""Real servers that tests start: each on a free loopback port, with a directory of its own."""
