"""Builds each recipe of models/ once; skips where a package is absent."""

from functools import cache

import pytest

from skerry_host.builder.build import Build, BuildRequest, build
from tests.recipes.packages import MODELS, NOW, absent


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Build a recipe by name, once in a session."""

    @cache
    def make(name: str, board: str = "generic-x86") -> Build:
        if reason := absent(name):
            pytest.skip(reason)
        return build(BuildRequest(MODELS / name, board, NOW, out=tmp_path_factory.mktemp("recipes") / name))

    return make
