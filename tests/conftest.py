"""What holds for every test: no property is judged by how long it took, for the machine may be busy."""

from hypothesis import settings

settings.register_profile("skerry", deadline=None)
settings.load_profile("skerry")
