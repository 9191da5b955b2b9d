"""Step 6: the terms of the loss, and the methods that are made of them. Knows torch, and nothing of Expunge."""

from expunge.objective.methods import METHODS, TERMS, Method
from expunge.objective.negative import log_distance
from expunge.objective.plain import cluster_mean_loss, distance_loss, hidden_loss, kl_loss
from expunge.objective.said import Inner, Said
from expunge.objective.shares import row_shares
from expunge.objective.term import Term

__all__ = [
    "METHODS",
    "TERMS",
    "Inner",
    "Method",
    "Said",
    "Term",
    "cluster_mean_loss",
    "distance_loss",
    "hidden_loss",
    "kl_loss",
    "log_distance",
    "row_shares",
]
