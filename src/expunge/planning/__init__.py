"""What an unlearning will take, from a model's config.json alone: memory term by term, and time."""
