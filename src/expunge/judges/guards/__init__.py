"""Guard models: families of safety models, each with its own prompt, labels and answers, as judges."""
