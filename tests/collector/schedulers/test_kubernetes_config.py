"""What a collector may be told of a Kubernetes that it asks."""

from __future__ import annotations

from typing import Any

import pytest

from joulebook.collector.schedulers.kubernetes_config import KubernetesConfig


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"server": "ftp://x"}, "expected https://host:port"),
        ({"server": "https://user:x@host"}, "expected https://host:port"),
        ({"server": "https://host:x"}, "expected https://host:port"),
        ({"server": "http://host:8080", "token": __file__}, "without TLS"),
        ({"period_s": 0.5, "token": "", "ca": ""}, "expected 1 to 86400"),
        ({"timeout_s": 0.0}, "expected 0.1 to 3600"),
        ({"period_s": 60.0, "token": "/nowhere", "ca": ""}, "kubernetes.token = '/nowhere': no such file"),
        ({"period_s": 60.0, "token": "", "ca": "/nowhere"}, "kubernetes.ca = '/nowhere': no such file"),
    ],
)
def test_what_it_can_be_told(config: dict[str, Any], wrong: str) -> None:
    """Addresses that are none, files that are not there, and tokens that anybody could read are refused."""
    (error,) = KubernetesConfig(**config).errors()
    assert wrong in error
    assert KubernetesConfig().errors() == []
    assert KubernetesConfig(server="http://localhost:8001", token=__file__).errors() == []
    assert KubernetesConfig(server="http://host:8001", token=__file__).errors(insecure=True) == []
