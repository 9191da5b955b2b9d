"""Review: a person has the last word over a file of verdicts, on a page that this machine alone can open."""

from expunge.review.index import Index, Query
from expunge.review.journal import Journal, read_decisions
from expunge.review.review import Review, reviewed

__all__ = ["Index", "Journal", "Query", "Review", "read_decisions", "reviewed"]
