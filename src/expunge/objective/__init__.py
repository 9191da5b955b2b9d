"""Step 6: the terms of the loss, and the methods that are made of them. Knows nothing of the rest of Expunge."""
