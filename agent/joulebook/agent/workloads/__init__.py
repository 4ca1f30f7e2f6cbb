"""Who uses the node: cgroups of systemd and containers, marked runs, and the agent itself."""
