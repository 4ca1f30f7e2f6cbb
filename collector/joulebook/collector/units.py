"""Joules, watts and times as people read them. Sub-units come in; SI prefixes go out."""

from __future__ import annotations

from datetime import timedelta

_PREFIXES = ((-6, "µ"), (-3, "m"), (0, ""), (3, "k"), (6, "M"), (9, "G"), (12, "T"), (15, "P"))


def energy(energy_uj: int, plus_minus_uj: int | None = None) -> str:
    """Write energy in joules, with its ± to the same place."""
    return _scaled(energy_uj, -6, "J", plus_minus_uj)


def power(power_mw: int | None) -> str:
    """Write power in watts; a dash where it is not known."""
    return "–" if power_mw is None else _scaled(power_mw, -3, "W", None)


def _scaled(value: int, exponent: int, symbol: str, plus_minus: int | None) -> str:
    if not value and not plus_minus:
        return f"0 {symbol}"
    # The largest prefix that leaves a digit before the point.
    size = max(abs(value), plus_minus or 0)
    fitting = [(e, p) for e, p in _PREFIXES if exponent <= e and size >= 10 ** (e - exponent)]
    power_of_ten, prefix = max(fitting)
    divisor: int = 10 ** (power_of_ten - exponent)
    whole = len(str(size // divisor))
    # Nothing is finer than the sub-unit.
    places = min(max(4 - whole, 0), power_of_ten - exponent)
    if plus_minus is None:
        return f"{value / divisor:.{places}f} {prefix}{symbol}"
    return f"{value / divisor:.{places}f} ± {plus_minus / divisor:.{places}f} {prefix}{symbol}"


def duration(seconds: float) -> str:
    """Write a length of time: 17 ms, 12.3 s, or 1:02:03 from a minute on."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def percent(share: float) -> str:
    """Write a share; only what is exactly all or nothing is 100 % or 0 %."""
    if 0 < share < 1:
        return f"{min(max(share * 100, 0.1), 99.9):.1f} %"
    return f"{share * 100:.0f} %"
