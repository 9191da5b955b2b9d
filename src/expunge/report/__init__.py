"""What an audit found, for people: one self-contained page, and a table for the terminal. No torch here."""

from __future__ import annotations

from expunge.report.html import write_report
from expunge.report.terminal import table, verdict

__all__ = ["table", "verdict", "write_report"]
