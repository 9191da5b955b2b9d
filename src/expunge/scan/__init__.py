"""Step 2 at any scale: rows of dialogues, or of prompts that the model answers, to a file of verdicts."""

from expunge.scan.asking import Asking, Loaded, chat_format
from expunge.scan.journal import aside_of
from expunge.scan.merge import merge
from expunge.scan.run import Scan, Shard, scan

__all__ = ["Asking", "Loaded", "Scan", "Shard", "aside_of", "chat_format", "merge", "scan"]
