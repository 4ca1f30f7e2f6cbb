"""The manifest grants a collector in the cluster what it asks for, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def test_the_one_right() -> None:
    """One cluster role with one rule, bound to one service account in the manifest's own name space."""
    text = (Path(__file__).parents[2] / "deploy/kubernetes/rbac.yaml").read_text()
    found: dict[str, Any] = {one["kind"]: one for one in yaml.safe_load_all(text)}
    assert set(found) == {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
    role, binding, account = found["ClusterRole"], found["ClusterRoleBinding"], found["ServiceAccount"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    names = {key: account["metadata"][key] for key in ("name", "namespace")}
    assert binding["subjects"] == [{"kind": "ServiceAccount"} | names]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert names["namespace"] == found["Namespace"]["metadata"]["name"]
