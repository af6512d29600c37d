from .errors import NasError as NasError
from .networks import build_network as build_network
from .reporting import Study as Study
from .spaces import Candidate as Candidate
from .spaces import DesignSpace as DesignSpace
from .spaces import RuleSet as RuleSet
from .training import FeatureExtractor as FeatureExtractor

__version__: str
