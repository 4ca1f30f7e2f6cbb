"""The `joulebook` command: each command loads what it needs when it is called."""
