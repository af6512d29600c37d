from .diagnosis import diagnose as diagnose
from .layout import lay_out as lay_out
from .layout import shipped as shipped
from .own_study import write_own_study as write_own_study
from .schemas import file_schema as file_schema
