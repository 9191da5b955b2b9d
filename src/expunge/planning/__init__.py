"""What an unlearning will take, from the model's config.json alone: memory term by term, and time. No weights are read."""
