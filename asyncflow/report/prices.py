"""What captcha solutions cost.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPTCHA_PRICES", "cost_of"]

CAPTCHA_PRICES: Mapping[str, float] = MappingProxyType({"": 0.003, "UserProvided": 0.0})
"""US dollars for one solution, by the provider's name in job records; "" is for every other one.

The service publishes no price. 0.003 is what one of its users reported for a day of 159 solutions; the providers' own price lists
change and differ by plan, so put in your own.
"""


def cost_of(providers: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """Return what so many solutions by *providers* cost; names are compared without regard to case, as the service spells them.

    A name that *prices* lacks costs what "" does there, else what it does in `CAPTCHA_PRICES`.
    """
    known = {name.lower(): price for name, price in {**CAPTCHA_PRICES, **prices}.items()}
    return round(sum(known.get(name.lower(), known[""]) * number for name, number in providers.items()), 6)
