from .loading import load_study_data as load_study_data
from .notebook import Study as Study
from .report import write_report as write_report
from .study_data import StudyData as StudyData
