"""The field's benchmarks as ready measurements: TOFU, MUSE, RWKU, and WMDP through lm-eval."""
