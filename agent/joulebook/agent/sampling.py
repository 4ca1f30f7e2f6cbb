"""The ± of energy that is made of a gauge's readings, as a series that adds up."""

from math import isqrt

# Errors of readings are independent, so over a time they add in quadrature; over several, their ± add.
_WINDOW_US = 600_000_000
# 95 % lie within as many deviations, in hundredths; a variance in nJ² gives µJ.
_DEVIATIONS = 196
_TO_UJ = 100 * 1000


class SamplingError:
    """Grows by how far off each interval's energy may be.

    From where a window began the increments up to any moment are the ± of the energy since then; a new set of
    workloads begins one, so that none begins within it. Of several windows, of ten minutes each, the ± add,
    which is more than they have to.
    """

    __slots__ = ("_base_uj", "_begun_us", "_from_nj2", "_now_us", "_shown_uj", "_variance_nj2")

    def __init__(self) -> None:
        self._base_uj = self._shown_uj = 0
        self._begun_us = self._now_us = -1
        self._from_nj2 = self._variance_nj2 = 0

    def update(self, now_us: int, variance_nj2: int) -> int:
        """Take the variance so far; return the sum of errors in µJ."""
        if self._begun_us < 0 or variance_nj2 < self._from_nj2:
            self._variance_nj2 = variance_nj2
            self._now_us = now_us
            self.renew()
        elif now_us - self._begun_us > _WINDOW_US:
            self.renew()
        self._now_us, self._variance_nj2 = now_us, variance_nj2
        error_uj = isqrt((variance_nj2 - self._from_nj2) * _DEVIATIONS**2) // _TO_UJ
        self._shown_uj = self._base_uj + error_uj
        return self._shown_uj

    def renew(self) -> None:
        """Begin a window at the last moment that was taken."""
        self._base_uj, self._begun_us, self._from_nj2 = self._shown_uj, self._now_us, self._variance_nj2
