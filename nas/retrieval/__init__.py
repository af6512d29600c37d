"""Retrieval: from features to mAP, CMC, mINP, re-ranking, rank lists and verification rates."""

from nas.retrieval.evaluation import evaluate
from nas.retrieval.metrics import RetrievalMetrics

__all__ = ["RetrievalMetrics", "evaluate"]
