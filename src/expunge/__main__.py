"""`python -m expunge`, and so `accelerate launch -m expunge`: the same as the command."""

from expunge.cli import main

main()
