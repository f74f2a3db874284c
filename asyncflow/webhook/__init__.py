"""Callbacks of the service in, nudges to a watch out."""

from asyncflow.webhook.receiver import Reply, WebhookReceiver

__all__ = ["Reply", "WebhookReceiver"]
