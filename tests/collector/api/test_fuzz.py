"""Whatever is asked, the answer is the one that the OpenAPI document describes, and never a failure."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.api.app import create_app
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.alerts import MadeUpBook

_APP = create_app(DuckDBStore(":memory:"), IngestStats(), MadeUpBook(), DeliveryStats())
_DESCRIBED = schemathesis.openapi.from_dict(_APP.openapi())
_OPERATIONS = {
    result.ok().label: result.ok() for result in _DESCRIBED.get_all_operations() if isinstance(result, Ok)
}

# Only a query can be at odds with the document: any text at all is a path's last part.
_CASES = [
    (label, mode)
    for label, operation in _OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or len(operation.query)
]


@pytest.mark.parametrize(("label", "mode"), _CASES)
def test_answers_conform(label: str, mode: GenerationMode, url: str) -> None:
    """Statuses, media types and bodies are as documented; no request makes a 5xx."""

    @given(st.data())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(data: st.DataObject) -> None:
        case = data.draw(_OPERATIONS[label].as_strategy(generation_mode=mode))
        # Names that nobody knows and ranges that run backwards fit the schema, and are refused all the same.
        case.call_and_validate(base_url=url, excluded_checks=[positive_data_acceptance])

    check()
