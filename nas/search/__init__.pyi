from .definition import StudyDefinition as StudyDefinition
from .definition import load_study as load_study
