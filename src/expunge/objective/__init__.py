"""Step 6: the three terms of the loss. Knows torch, and nothing of Expunge."""

from expunge.objective.negative import distance_loss, log_distance
from expunge.objective.normal import hidden_loss, kl_loss
from expunge.objective.positive import cluster_mean_loss
from expunge.objective.shares import row_shares

__all__ = ["cluster_mean_loss", "distance_loss", "hidden_loss", "kl_loss", "log_distance", "row_shares"]
