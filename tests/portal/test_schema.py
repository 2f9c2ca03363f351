"""The OpenAPI is what the app does: schemathesis makes calls of it, right and wrong ones, and reads the answers by it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from penstock.portal.app import build_app, list_operations
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene

EXAMPLES = 15  # of each operation, right and wrong
OPERATIONS = sorted(str(route.operation_id) for route in list_operations())
STREAMS = {"watch_live"}
"""What never ends."""

NOT_FOR_ALL = ("positive_data_acceptance",)
"""A shape cannot say what is no host, or which zones and services there are."""


@pytest.fixture(scope="module")
def operations(scene: Scene) -> dict[str, Any]:
    found = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", build_app(scene.portal))
    return {one.ok().definition.raw["operationId"]: one.ok() for one in found.get_all_operations()}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in STREAMS])
def test_answers_are_as_described(
    scene: Scene, operations: dict[str, Any], operation: str, mode: GenerationMode
) -> None:
    excluded = [CHECKS.get_one(name) for name in NOT_FOR_ALL]
    headers = {"Authorization": f"Bearer {scene.tokens['operator']}"}

    @given(case=operations[operation].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        scene.portal.failures._buckets.clear()
        if mode is GenerationMode.POSITIVE and "subscriber" in (case.path_parameters or {}):
            case.path_parameters["subscriber"] = "home"  # most ids are nobody's
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    run()
