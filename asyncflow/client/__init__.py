"""Outbound HTTP: `AsyncClient`, one aiohttp session to the service and one request budget for everything that uses it.

The only room where a token is read. It is sent to the base URL and to nowhere else: redirects are not followed.
"""

from asyncflow.client.async_client import AsyncClient
from asyncflow.client.submit_batch import SubmitBatch

__all__ = ["AsyncClient", "SubmitBatch"]
