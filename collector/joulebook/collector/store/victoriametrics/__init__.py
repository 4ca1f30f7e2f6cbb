"""A store in VictoriaMetrics, which keeps all that it is sent, in ms, and shows it a moment later."""
