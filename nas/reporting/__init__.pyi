from .figures import SpeedByPosition as SpeedByPosition
from .loading import load_study_data as load_study_data
from .notebook import Study as Study
from .rank_lists import make_rank_lists as make_rank_lists
from .report import write_report as write_report
from .story.trust import file_name as file_name
from .study_data import StudyData as StudyData
