"""The line in which `joulebook up` says where power goes."""

from joulebook.cli.up import power_line


def test_a_line_has_the_largest_accounts_and_the_rest_as_one() -> None:
    """Nodes are added up; what draws nothing is left out, and what there is no room for is one figure."""
    jobs = [{"account": f"job:run.{n}", "power_mw": 100 * n} for n in range(12)]
    system = {"account": "system", "power_mw": 40_000}
    line = power_line([{"accounts": [*jobs, system]}, {"accounts": [system]}])
    total, _, shown = line.partition(":  ")
    assert total == "86.60 W"
    accounts = shown.split("  ")
    assert accounts[:2] == ["system 80.00 W", "job:run.11 1.100 W"]
    assert accounts[-2:] == ["job:run.5 500 mW", "4 others 1.000 W"]
    assert len(accounts) == 9
    assert power_line([{"accounts": jobs[:2]}]) == "100 mW:  job:run.1 100 mW"


def test_before_the_first_report_it_says_so() -> None:
    """A node without accounts has not told anything yet."""
    assert power_line([{"accounts": []}]) == "waiting for the first report"
