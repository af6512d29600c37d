"""The generated pedestrian set: articulated figures rendered with NumPy, deterministic by seed.

Who a person is (`people`), what the body looks like and how it walks (`figure`, `raster`), where (`scene`),
which camera sees it (`camera`), and the folder of images that comes out (`generate`). It exists so that
everything can be tried without a download; nobody is depicted, and it makes no claim about real pedestrians.
"""
