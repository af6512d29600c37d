from .diagnosis import diagnose as diagnose
from .layout import lay_out as lay_out
from .layout import shipped as shipped
from .schemas import file_schema as file_schema
