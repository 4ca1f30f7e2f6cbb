"""What a collector can be told."""

from pathlib import Path

import msgspec

from joulebook.collector.api.device_kinds import errors as metrics_errors
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.loopback import is_loopback
from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.kubernetes_config import KubernetesConfig
from joulebook.collector.store.influxdb_address import InfluxAddress, is_influxdb, redacted
from joulebook.collector.store.victoriametrics.address import VictoriaAddress, is_victoriametrics


class CollectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [collector] of the configuration."""

    # host:port of the page and the HTTP API.
    http: str = "127.0.0.1:8460"
    # host:port of gRPC: agents and queries.
    grpc: str = "127.0.0.1:8461"
    # PEM files; both ports use them. Empty: no TLS, and then only on loopback.
    tls_certificate: str = ""
    tls_key: str = ""
    # Binds other addresses than loopback without TLS.
    insecure: bool = False
    # A database that collectors share, influxdb://host:port/database (influxdbs:// for TLS), made by
    # `joulebook store setup`; a VictoriaMetrics, victoriametrics://host:port (victoriametricss:// for TLS);
    # or the embedded store's file.
    # Empty: joulebook.duckdb in /var/lib/joulebook as root or as a service, else
    # in $XDG_STATE_HOME/joulebook.
    store: str = ""
    # For InfluxDB and VictoriaMetrics: a file that holds user:password or a token; empty: none.
    store_credentials: str = ""
    # For InfluxDB and VictoriaMetrics: compress what is written.
    store_compress: bool = True
    # For VictoriaMetrics: a file for what is no time series. It belongs to this collector alone; back it up.
    # Empty: joulebook.facts.sqlite where the embedded store would be.
    facts: str = ""
    # Who pays for idle floors: reserved, active or none.
    policy: Policy = Policy.RESERVED
    # How long Reports are gathered for one transaction at least; up to a second where transactions are slow.
    commit_interval_s: float = 0.1
    # For the embedded store: how many days raw readings, series and books by minute, series by hour, and the
    # ledger's rows (one a Report and account) are kept; 0: for ever. Books by hour and day, and jobs, always
    # are.
    retention_raw_days: float = 0.0
    retention_minutes_days: float = 0.0
    retention_hours_days: float = 0.0
    retention_ledger_days: float = 0.0
    # A file that holds the token with which schedulers may tell of jobs (POST /api/v1/jobs); empty: nobody
    # may.
    jobs_token: str = ""
    # Kinds whose newest figures are at /metrics by node and device: gpu, gpu_instance, disk, network, rdma,
    # package, numa, network_storage, storage_daemon, source, nvme; domain: the energy domains. By default
    # none: a GPU alone has up to 38 series.
    metrics_devices: list[str] = []
    # At most so many such samples a scrape; nodes beyond that are left out whole, and counted.
    metrics_device_samples: int = 100_000
    # Reports that end later than this are refused: the node's clock is wrong.
    max_future_s: float = 300.0
    slurm: SlurmConfig = SlurmConfig()
    kubernetes: KubernetesConfig = KubernetesConfig()

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        for name, address in (("http", self.http), ("grpc", self.grpc)):
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or int(port) > 65535:
                wrong.append(f"collector.{name} = {address!r}: expected host:port")
            elif not (self.insecure or self.tls_certificate or is_loopback(host)):
                wrong.append(
                    f"collector.{name} = {address!r}: not loopback and without TLS; "
                    "set tls_certificate and tls_key, or say insecure"
                )
        if bool(self.tls_certificate) != bool(self.tls_key):
            wrong.append("collector.tls_certificate and collector.tls_key: expected both or neither")
        for name in ("tls_certificate", "tls_key"):
            if (path := getattr(self, name)) and not Path(path).is_file():
                wrong.append(f"collector.{name} = {path!r}: no such file")
        if self.jobs_token and not Path(self.jobs_token).is_file():
            wrong.append(f"collector.jobs_token = {self.jobs_token!r}: no such file")
        wrong += self._store_errors()
        for scheduler in (self.slurm, self.kubernetes):
            wrong += scheduler.errors(insecure=self.insecure)
        for kept in ("raw", "minutes", "hours", "ledger"):
            name = f"retention_{kept}_days"
            days = getattr(self, name)
            if days and not 1 <= days <= 36_500:
                wrong.append(f"collector.{name} = {days}: expected 1 to 36500, or 0 for ever")
        wrong += metrics_errors(self.metrics_devices, self.metrics_device_samples)
        if not 0 <= self.commit_interval_s <= 60:
            wrong.append(f"collector.commit_interval_s = {self.commit_interval_s}: expected 0 to 60")
        if not 0 < self.max_future_s <= 86_400:
            wrong.append(f"collector.max_future_s = {self.max_future_s}: expected above 0, at most 86400")
        return wrong

    def _store_errors(self) -> list[str]:
        wrong = []
        if self.store_credentials and not Path(self.store_credentials).is_file():
            wrong.append(f"collector.store_credentials = {self.store_credentials!r}: no such file")
        if not (is_influxdb(self.store) or is_victoriametrics(self.store)):
            return wrong
        parse = InfluxAddress.parse if is_influxdb(self.store) else VictoriaAddress.parse
        try:
            address = parse(self.store)
        except ValueError as error:
            return [*wrong, f"collector.store = {redacted(self.store)!r}: {error}"]
        clear = address.url.startswith("http:") and not is_loopback(address.host)
        if self.store_credentials and clear and not self.insecure:
            wrong.append(
                f"collector.store = {self.store!r}: credentials would go there without TLS; "
                f"write {self.store.partition(':')[0]}s://, or say insecure"
            )
        return wrong
