"""Whatever InfluxDB 2 or 3 answers to a write, nothing of it is lost, and what was refused is named.

There are no such servers here: the answers are those of their documentation, each with its page. What is
the same in InfluxDB 1 is held for its way of writing too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.ingest.committer import Committer, Outcome
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import StoreError
from tests.servers.influxdb_answers import TOKEN, Answers, answers
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

CASES = json.loads(Path(__file__).with_name("influxdb_answers.json").read_text())


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the token."""
    path = tmp_path / "secret"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def second() -> Iterator[Answers]:
    """A server of version 2."""
    with answers("v2.7.1") as server:
        yield server


@pytest.fixture(params=["1.6.7", "v2.7.1"])
def either(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """A server for each of the ways that lines go."""
    with answers(request.param) as server:
        yield server


def _store(server: Answers, secret: Path) -> InfluxStore:
    server.databases = {"energy": "", "energy/names": ""}
    return InfluxStore(f"influxdb://127.0.0.1:{server.port}/energy?org=lab", credentials=str(secret))


def _reports(name: str = "n1", count: int = 1) -> list[Decoded]:
    node = SimulatedNode(name=name)
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    made = []
    for _ in range(count):
        node.tick()
        made.append(node.report())
    return decoded(node, made)


def _committed(store: InfluxStore, reports: list[Decoded]) -> tuple[list[Outcome], IngestStats]:
    """Return what a collector answers to Reports that it commits together."""
    stats = IngestStats()
    outcomes: dict[int, Outcome] = {}

    async def run() -> None:
        committer = Committer(store, stats, commit_interval_s=0)
        done = asyncio.Event()

        def answered(place: int, outcome: Outcome) -> None:
            outcomes[place] = outcome
            if len(outcomes) == len(reports):
                done.set()

        for place, report in enumerate(reports):
            await committer.submit(report, lambda outcome, place=place: answered(place, outcome))  # type: ignore[misc]
        committing = asyncio.create_task(committer.run())
        await done.wait()
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)

    asyncio.run(run())
    return [outcomes[place] for place in range(len(reports))], stats


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_answer_is_understood(case: dict[str, Any], secret: Path) -> None:
    """The error names what the server named; nothing is acknowledged, and sent again it is taken."""
    with answers(case["version"]) as server:
        store = _store(server, secret)
        reports = _reports()
        refused = (case["status"], case.get("headers", {}), case["body"])
        # As often as it is tried.
        server.refusals = [refused] * 3
        (outcome,), stats = _committed(store, reports)
        said = outcome.message
        assert case["said"] in said, said
        assert case["source"].startswith("https://docs.influxdata.com/")
        if case["name"].endswith("retention"):
            # It can never be written: the one answer that an agent takes for the last.
            assert outcome.code is grpc.StatusCode.FAILED_PRECONDITION
        else:
            assert outcome.code is grpc.StatusCode.UNAVAILABLE
            assert stats.failed_commits == 1
        assert stats.refused_lines == case["lines"]
        assert stats.reports == 0
        server.refusals.clear()
        (again,), _ = _committed(store, reports)
        assert again.code is grpc.StatusCode.OK
        assert any(line.startswith(b"report,") for _, _, lines in server.writes for line in lines)
        store.close()


def test_one_bad_report_does_not_hold_the_others(either: Answers, secret: Path) -> None:
    """Where lines of a transaction are refused, each Report is tried alone, and one stays unacknowledged."""
    store = _store(either, secret)
    reports = [*_reports("n1"), *_reports("n2"), *_reports("n3")]
    malformed: tuple[int, dict[str, str], Any] = (
        400,
        {},
        {"code": "invalid", "message": "unable to parse 'layout,': missing fields"},
    )
    # To the transaction of all, and to that of the first alone.
    either.refusals = [malformed, malformed]
    outcomes, stats = _committed(store, reports)
    assert [outcome.code.name for outcome in outcomes] == ["UNAVAILABLE", "OK", "OK"]
    assert (stats.refused_lines, stats.failed_commits, stats.reports) == (1, 1, 2)
    store.close()


def test_busy_servers_are_asked_again(either: Answers, secret: Path) -> None:
    """429 and 503 are tried again after a moment, however long the server asks for, and then taken."""
    store = _store(either, secret)
    either.refusals = [
        (429, {"Retry-After": "86400"}, {"code": "too many requests", "message": "wait"}),
        (503, {}, {"code": "unavailable", "message": "wait"}),
    ]
    (outcome,), stats = _committed(store, _reports())
    assert outcome.code is grpc.StatusCode.OK
    assert (stats.reports, stats.failed_commits) == (1, 0)
    store.close()


def test_what_is_too_large_is_written_in_parts(either: Answers, secret: Path) -> None:
    """A server that takes little at once has in the end what one has that takes it all, line by line."""
    store = _store(either, secret)
    reports = _reports(count=5)
    _committed(store, reports)
    whole = [line for _, _, own in either.writes for line in own]
    store.close()
    either.writes.clear()
    either.most_bytes = 700
    store = _store(either, secret)
    outcomes, _ = _committed(store, reports)
    assert {outcome.code for outcome in outcomes} == {grpc.StatusCode.OK}
    lines = [line for _, _, own in either.writes for line in own]
    assert lines == whole
    assert all(len(b"\n".join(own)) <= 700 for _, _, own in either.writes)
    store.close()


def test_writes_name_bucket_organisation_and_precision(second: Answers, secret: Path) -> None:
    """The bucket is the database, or database/names; times are said to be µs, and the token is sent."""
    store = _store(second, secret)
    _committed(store, _reports())
    assert {(w["bucket"], w["org"], w["precision"]) for w, _, _ in second.writes} == {
        ("energy", "lab", "us"),
        ("energy/names", "lab", "us"),
    }
    assert {token for _, token, _ in second.writes} == {f"Token {TOKEN}"}
    store.close()


def test_a_first_version_has_writes_of_its_own(secret: Path) -> None:
    """Before 1.8 the database and the retention policy are named apart; user and password are sent."""
    secret.write_text("ada:s3cret\n")
    with answers("1.6.7") as server:
        store = _store(server, secret)
        _committed(store, _reports())
        asked = {tuple(sorted(own.items())) for own, _, _ in server.writes}
        assert asked == {
            (("db", "energy"), ("precision", "u")),
            (("db", "energy"), ("precision", "u"), ("rp", "names")),
        }
        assert {sent for _, sent, _ in server.writes} == {"Basic YWRhOnMzY3JldA=="}
        store.close()


def test_version_3_is_set_up(secret: Path) -> None:
    """Two databases are made, the readings' with retention, under the scheme that version 3 wants; once."""
    with answers("3.4.0") as server:
        command = ["store", "setup", f"--store=influxdb://127.0.0.1:{server.port}/energy", "--retention=30d"]
        environ = {"JOULEBOOK_CONFIG": "/dev/null", "JOULEBOOK__COLLECTOR__STORE_CREDENTIALS": str(secret)}
        done = CliRunner().invoke(main, command, env=environ)
        assert done.exit_code == 0, done.output
        assert server.databases == {"energy": "720h", "energy/names": ""}
        assert "made database 'energy', kept for 30 days" in done.output
        again = CliRunner().invoke(main, command, env=environ)
        assert "everything is there already" in again.output
        wrong = CliRunner().invoke(main, command, env={"JOULEBOOK_CONFIG": "/dev/null"})
        assert wrong.exit_code == 1
        assert "expected credentials in collector.store_credentials" in wrong.output


def test_an_address_says_no_more(secret: Path) -> None:
    """What an address may say besides the organisation is nothing."""
    with (
        answers("v2.7.1") as server,
        pytest.raises(StoreError, match="expected influxdb://host:port/database"),
    ):
        InfluxStore(f"influxdb://127.0.0.1:{server.port}/energy?token=x", credentials=str(secret))
