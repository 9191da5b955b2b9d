"""Step 8: training the model away from the forget set, with the judge in the loop."""
