from .evaluation import evaluate as evaluate
from .metrics import RetrievalMetrics as RetrievalMetrics
from .pictures import draw_rank_lists as draw_rank_lists
from .rank_lists import rank_lists as rank_lists
from .verification import PairDistances as PairDistances
