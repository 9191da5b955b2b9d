"""Expunge: find what a language model should not say, make it stop, keep everything else, and prove it."""

from __future__ import annotations

__version__ = "0.1.0"
