"""The generated pedestrian set: articulated figures rendered with NumPy, deterministic by seed.

Who a person is (`appearance`), how they walk (`pose`), what the body looks like from there (`body`,
`paint`, `raster`), where they are (`scene`), which camera sees it (`camera`), and the folder of
images that comes out (`generate`). It exists so that everything can be tried without a download;
it makes no claim about real pedestrians.
"""
