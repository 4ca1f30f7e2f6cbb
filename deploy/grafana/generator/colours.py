"""Colours as on joulebook's own page: Okabe and Ito's, told apart with any kind of colour vision."""

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

JOBS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
ACCOUNTS = {
    "jobs": "#0072b2",
    "jobs, active": "#0072b2",
    "jobs, held idle": "#56b4e9",
    "system": "#6b7782",
    "agent": "#8a5a2b",
    "unattributed": "#b03a5b",
    "idle": "#c9ced3",
}
# A class, active, and its idle floor in a lighter tone.
CLASSES = {
    "cpu": ("#0072b2", "#80b9d9"),
    "memory": ("#e69f00", "#f3cf80"),
    "gpu": ("#009e73", "#80cfb9"),
    "storage": ("#cc79a7", "#e6bcd3"),
    "network": ("#56b4e9", "#abdaf4"),
    "platform": ("#6b7782", "#b5bbc1"),
}
# The columns that fields.classes() asks for.
TONES = {
    f"{name} {kind}": tone
    for name, tones in CLASSES.items()
    for kind, tone in zip(("active", "idle"), tones, strict=True)
}
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def fixed(colour: str) -> DynamicConfigValue:
    """Return the property that gives a series its colour."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def by_last_letter() -> list[tuple[str, DynamicConfigValue]]:
    """Return patterns of names and their colours.

    Grafana has no palette of one's own. A name's last letter gives it one of seven, the same in every panel,
    and jobs that were submitted one after the other get different ones.
    """
    return [(f"/[{_LETTERS[i::7]}]$/i", fixed(colour)) for i, colour in enumerate(JOBS)]
