"""One portal for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.portal.scene import Scene, serve_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch, serve_scene(tmp_path_factory.mktemp("portal"), patch) as served:
        yield served
