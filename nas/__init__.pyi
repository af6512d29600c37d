from .commands import MLflow as MLflow
from .commands import TensorBoard as TensorBoard
from .commands import WeightsAndBiases as WeightsAndBiases
from .commands import evaluate as evaluate
from .commands import export as export
from .commands import extract as extract
from .commands import measure as measure
from .commands import profile as profile
from .commands import run as run
from .commands import train as train
from .data import load_dataset as load_dataset
from .errors import NasError as NasError
from .networks import build_network as build_network
from .networks import find_sites as find_sites
from .reporting import Study as Study
from .search import Callback as Callback
from .search import Objective as Objective
from .search import StudyDefinition as StudyDefinition
from .spaces import Candidate as Candidate
from .spaces import DesignSpace as DesignSpace
from .spaces import RuleSet as RuleSet
from .training import FeatureExtractor as FeatureExtractor
from .training import Recipe as Recipe

__version__: str
