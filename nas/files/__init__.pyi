from .hashes import sha256_of as sha256_of
from .outputs import check_outputs as check_outputs
from .whole import write_atomically as write_atomically
from .yaml_source import load_yaml as load_yaml
from .yaml_source import parse_yaml as parse_yaml
