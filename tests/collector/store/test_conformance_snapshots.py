"""Answers of every store are of one state, whatever is committed the while."""

from __future__ import annotations

import threading

from joulebook.collector.queries.ledger import get_ledger
from tests.collector.store.conftest import Kind
from tests.collector.store.histories import history
from tests.simulated.delivery import EVER, decoded, deliver, total_uj
from tests.simulated.node import Load, SimulatedNode


def test_a_snapshot_stays_as_it_was(kind: Kind) -> None:
    """What is committed between two questions of a snapshot does not show: its books balance."""
    node = SimulatedNode()
    store, reports = kind.opened(), history(node)
    deliver(store, [[reports[0], reports[3]]])
    with store.snapshot() as frozen:
        before = frozen.accounts(EVER)
        deliver(store, [reports[1:3]])
        deliver(store, [reports[4:]])
        assert frozen.accounts(EVER) == before
        raw_uj = sum(int(r.energy_uj.sum()) for r in frozen.raw_energy(EVER))
        booked_uj = sum(sum(a.active_uj) + sum(a.idle_uj) for a in before if a.account != "unattributed")
        assert raw_uj == booked_uj
        assert len(frozen.raw_gaps(EVER)) == 1
    assert total_uj(store) == node.measured_uj


def test_commits_beside_questions_do_not_show(kind: Kind) -> None:
    """Books that grow and whose gaps are filled while they are read balance in every answer."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    sent = []
    for _ in range(60):
        node.tick()
        sent.append(node.report())
    reports = decoded(node, sent)
    store = kind.opened()
    deliver(store, [reports[:1]])
    batches = [[reports[i + 1]] for i in range(0, 58, 2)] + [[reports[i]] for i in range(2, 60, 2)]
    writer = threading.Thread(target=deliver, args=(store, [*batches, reports]))
    writer.start()
    answers = []
    while writer.is_alive():
        answers.append(get_ledger(store, node=None, from_us=0, to_us=EVER.to_us))
    writer.join()
    assert {answer.residual_uj for answer in answers} <= {0}
    # A gap holds what the Reports in it will: nothing is there twice while they come, and nothing goes.
    measured_uj = [answer.measured_uj for answer in answers]
    assert measured_uj == sorted(measured_uj)
    assert max(measured_uj) <= node.measured_uj
    assert total_uj(store) == node.measured_uj
