"""What an audit found, for people: a self-contained page, tables for the terminal, a model card. No torch here."""

from __future__ import annotations

from expunge.report.card import write_card
from expunge.report.html import write_report
from expunge.report.terminal import table, verdict

__all__ = ["table", "verdict", "write_card", "write_report"]
