"""Which answers 429 our rate provokes, and which come at any rate."""

_FEWEST, _MANY = 20, 300
_IN_A_ROW = 4
_MUCH_MORE = 8.0
_FORGETTING = 0.75
_TRUST = 30


class ThrottleClassifier:
    """Judges each 429 by what went before it.

    A limit lets everything pass below itself: a rate halved once or twice is below, and 429s become rare. Where they keep coming
    as before, four times in a row and though the rate was halved each time, they are *random*: they say nothing about our rate,
    and going still slower would only cost time. From then on the rate is halved only where pauses take more time than they
    leave, until far more requests pass than usual: then it was the rate after all. A limit that saves up for long may look the
    same for a while, so the verdict is put to the test again after thirty more, then sixty, and so on.
    """

    def __init__(self) -> None:
        self.is_random: bool = False
        self._in_a_row = 0
        self._usual = 0.0
        self._trusted = self._trust = _TRUST
        self._ran = self._paused = 0.0

    def is_for_rate(self, passed: int, ran: float, pause: float, soon: float) -> bool:
        """Return whether to go slower after a 429 with a *pause*, before which *passed* answers came in *ran* seconds.

        *soon* is the time before which another 429 is not to be expected once the rate is halved.
        """
        if self.is_random:
            return self._is_for_rate_after_all(passed, ran, pause)
        if passed > _MANY and ran > 2 * soon:
            self._in_a_row = max(self._in_a_row - 1, 0)
        elif passed >= _FEWEST and pause < ran < soon:
            self._in_a_row += 1
            self._usual += (passed - self._usual) / self._in_a_row
            self.is_random = self._in_a_row == _IN_A_ROW
        return not self.is_random

    def _is_for_rate_after_all(self, passed: int, ran: float, pause: float) -> bool:
        self._trusted -= 1
        if passed > _MUCH_MORE * self._usual or not self._trusted:
            self.is_random, self._in_a_row = False, 0
            self._trust *= 2
            self._trusted = self._trust
            return True
        self._usual += (passed - self._usual) / 8
        self._ran = self._ran * _FORGETTING + ran
        self._paused = self._paused * _FORGETTING + pause
        if self._paused <= self._ran:
            return False
        self._ran = self._paused = 0.0
        return True
