"""Methods side by side: the same dialogues, the same budget, one score."""
