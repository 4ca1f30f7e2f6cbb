"""The page at /: where everything is. It asks nothing of anyone else."""

_LINKS = {
    "/api/v1/nodes": "nodes: sources, domains, power now by account",
    "/api/v1/jobs": "jobs: energy, ±, coverage",
    "/api/v1/ledger": "the ledger of the last hour, and whether it balances",
    "/api/v1/series?metric=energy_uj": "series: energy by domain over the last hour",
    "/metrics": "metrics, for Prometheus",
    "/healthz": "health",
    "/readyz": "readiness",
    "/openapi.json": "the API's description",
}

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>joulebook</title>
<style>
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
</style>
</head>
<body>
<h1>joulebook</h1>
<ul>
{"".join(f'<li><a href="{path}">{path}</a> — {what}</li>{chr(10)}' for path, what in _LINKS.items())}</ul>
</body>
</html>
"""
