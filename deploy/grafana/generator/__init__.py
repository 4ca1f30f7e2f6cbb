"""Grafana's dashboards as code: `python -m deploy.grafana.generator` writes their JSON."""
