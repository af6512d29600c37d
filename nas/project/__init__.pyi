from .diagnosis import diagnose as diagnose
from .layout import lay_out as lay_out
from .layout import shipped as shipped
from .own_study import own_study as own_study
from .schemas import file_schema as file_schema
