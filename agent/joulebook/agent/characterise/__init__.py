"""How this node's power sensors behave under a load of known edges: `joulebook doctor --characterise`."""
