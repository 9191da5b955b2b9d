"""Step 9: what an unlearned model still says, what it cost, and how sure that is."""
