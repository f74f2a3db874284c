"""Callbacks of the service in, nudges to a watch out."""

from asyncflow.webhook.receiver import CallbackResponse, WebhookReceiver

__all__ = ["CallbackResponse", "WebhookReceiver"]
