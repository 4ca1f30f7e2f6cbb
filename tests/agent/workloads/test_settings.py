"""What [agent.workloads] may say."""

from joulebook.agent.workloads.settings import WorkloadsSettings


def test_unknown_launchers_are_refused_with_the_near_name() -> None:
    """A misspelt launcher is named, with what there is and what was meant."""
    assert WorkloadsSettings().errors() == []
    assert WorkloadsSettings(launchers=[]).errors() == []
    assert WorkloadsSettings(launchers=["rya"]).errors() == [
        "agent.workloads.launchers has 'rya': expected some of "
        "marked, flux, spark, ray, dask, torchrun, tensorflow, mpi; did you mean 'ray'?"
    ]


def test_the_socket_is_a_path() -> None:
    """A relative path is refused with what was expected."""
    (wrong,) = WorkloadsSettings(podresources="kubelet.sock").errors()
    assert wrong.startswith("agent.workloads.podresources = 'kubelet.sock': expected the absolute path")
    assert WorkloadsSettings(podresources="").errors() == []
    (wrong,) = WorkloadsSettings(pod_logs="pods").errors()
    assert wrong == "agent.workloads.pod_logs = 'pods': expected an absolute path"
