"""A live page over a watch: one page, from this process alone, for whoever has its link.

`model` knows what is shown, `news` tells it to browsers, `guard` keeps strangers out, `dashboard` puts them together; `static/`
holds the page as it is shipped.
"""

from asyncflow.dashboard.dashboard import Dashboard

__all__ = ["Dashboard"]
