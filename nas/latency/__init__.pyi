from .backends import available_backends as available_backends
from .isolation import exclusive_measurement as exclusive_measurement
from .isolation import training_presence as training_presence
from .measuring import measure as measure
from .prediction import AdditiveModel as AdditiveModel
from .protocol import LatencyProtocol as LatencyProtocol
from .record import LatencyRecord as LatencyRecord
