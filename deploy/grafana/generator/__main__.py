"""Write every dashboard's JSON into a directory: python -m deploy.grafana.generator [DIRECTORY]."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.generator import cluster, gpu, job, node

_COMMITTED = Path(__file__).parents[1] / "dashboards"
_DASHBOARDS = {"cluster": cluster, "node": node, "gpu": gpu, "job": job}


def main(directory: Path) -> None:
    """Write them."""
    for name, module in _DASHBOARDS.items():
        text = json.dumps(module.dashboard(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        (directory / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _COMMITTED)
