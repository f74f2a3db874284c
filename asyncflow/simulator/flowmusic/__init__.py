"""Flowmusic."""
