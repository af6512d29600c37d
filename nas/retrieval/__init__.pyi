from .evaluation import evaluate as evaluate
from .metrics import RetrievalMetrics as RetrievalMetrics
