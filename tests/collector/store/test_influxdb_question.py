"""Each version of InfluxDB is asked as its documentation has it, and gives back what was stored.

The servers of version 2 and 3 hold requests and answers to their documentation; what they find is what a real
InfluxDB 1 behind them finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_question import questions
from joulebook.collector.store.protocol import Range, StoreError
from tests.collector.store.histories import history, reports_of
from tests.collector.store.told import READS, tails
from tests.servers.influxdb import RunningInflux
from tests.servers.influxdb_answers import TOKEN, Answers, answers
from tests.simulated.cluster import Cluster
from tests.simulated.delivery import EVER, books_of, deliver
from tests.simulated.node import SimulatedNode


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with the token."""
    path = tmp_path / "secret"
    path.write_text(f"{TOKEN}\n")
    return str(path)


@pytest.fixture(params=["v2.7.1", "3.4.0"])
def later(request: pytest.FixtureRequest, influx: RunningInflux) -> Iterator[tuple[Answers, str]]:
    """A server of a later version that keeps what it takes, and the address of an empty database of it."""
    name = influx.fresh().rpartition("/")[2]
    with answers(request.param, f"http://127.0.0.1:{influx.port}") as server:
        server.databases = {name: "", f"{name}/names": ""}
        yield server, f"influxdb://127.0.0.1:{server.port}/{name}?org=lab"


def test_reads_come_back(later: tuple[Answers, str], secret: str, truth: Cluster) -> None:
    """What was stored in a version 2 or 3 is read from it as from the embedded store, each read of it."""
    server, address = later
    store = InfluxStore(address, credentials=secret)
    deliver(store, reports_of(truth))
    for selected in (EVER, Range(truth.now_us - 20_000_000, truth.now_us - 5_000_000, "n1")):
        for read, told in READS.items():
            assert told(store, selected) == told(truth.store, selected), (read, selected)
    assert tails(store) == tails(truth.store)
    assert store.jobs() == truth.store.jobs()
    assert [(n.node, n.last_unix_us) for n in store.nodes()] == [
        (n.node, n.last_unix_us) for n in truth.store.nodes()
    ]
    store.close()
    name = address.partition("?")[0].rpartition("/")[2]
    if server.version.startswith("3"):
        assert {database for database, _ in server.asked} == {name, f"{name}/names"}
        assert {count for _, count in server.asked} == {1}
    else:
        assert {database for database, _ in server.asked} == {name}
        assert max(count for _, count in server.asked) > 1


def test_a_store_that_is_opened_again_knows_what_is_there(later: tuple[Answers, str], secret: str) -> None:
    """Layouts, jobs, tags that only some series have and gaps that were filled are read again by the next."""
    node, beside = SimulatedNode(), SimulatedNode()
    step_us = 3_000_000
    reports = history(node, step_us=step_us)
    _, address = later
    for batch in ([0, 7], [3, 5], [1, 2], [6, 4], range(8)):
        store = InfluxStore(address, credentials=secret)
        deliver(store, [[reports[i] for i in batch]])
        store.close()
    store = InfluxStore(address, credentials=secret)
    truth = DuckDBStore(":memory:")
    deliver(truth, [history(beside, step_us=step_us)])
    assert books_of(store) == books_of(truth)
    assert tails(store) == tails(truth)
    store.close()


def test_a_wrong_token_is_told(later: tuple[Answers, str], tmp_path: Path) -> None:
    """Reads with a token that is not known, or with none, name the setting that it comes from."""
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed\n")
    for file in ("", str(wrong)):
        with pytest.raises(StoreError, match=r"401 .*; expected credentials in collector\.store_credentials"):
            InfluxStore(later[1], credentials=file)


def test_a_database_that_is_missing_is_told(secret: str) -> None:
    """Version 3 without its databases says which command makes them."""
    with (
        answers("3.4.0") as server,
        pytest.raises(
            StoreError, match=r"database not found: energy/names; make it with `joulebook store setup`"
        ),
    ):
        InfluxStore(f"influxdb://127.0.0.1:{server.port}/energy", credentials=secret)


NAMED = 'SELECT last("x") FROM "names"."job" WHERE "job" = \'a GROUP BY "b" FROM c\' GROUP BY "job", "node"'
HOURS = 'SELECT sum("x") FROM "ledger" WHERE time > 0 GROUP BY "node", time(1h, 1u) fill(none)'


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("", [("POST", 0, [])]),
        ("1.8.10", [("POST", 0, [])]),
        ("v2.7.1", [("POST", 0, [])]),
        ("3.4.0", [("GET", 0, ["job", "node"]), ("GET", 1, ["node"]), ("GET", 2, [])]),
    ],
)
def test_questions_are_put_together_or_alone(
    version: str, expected: list[tuple[str, int, list[str]]]
) -> None:
    """Versions 1 and 2 are asked all at once, version 3 one by one, and knows what each groups by."""
    plain = 'SELECT "x" FROM "report" WHERE "node" = \'a GROUP BY "b"\''
    asked = [*questions(version, "energy", ["names"], [NAMED, HOURS, plain])]
    assert [(one.method, one.first, list(one.tags)) for one in asked] == expected
