"""Glue to other tools, each with an extra of its own: nothing here is imported by the rest."""
