"""docs/settings.md is what scripts/settings.py makes of the models and the example, and no key goes without a word."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.control.configuration import Configuration
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "settings.py"
EXAMPLE = (ROOT / "examples" / "inline.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("settings")


def test_the_page_is_fresh() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_key_without_a_word_is_an_error(script: Any) -> None:
    without = re.sub(r"^#   own_names:.*\n", "", EXAMPLE, flags=re.MULTILINE)
    with pytest.raises(script.SettingsError, match=r"register\.own_names"):
        script.build_page(without)


def test_every_section_and_the_bounds_are_there(script: Any) -> None:
    page = script.build_page(EXAMPLE)
    for name, field in Configuration.model_fields.items():
        assert f"## {field.alias or name}\n" in page
    assert "| `api.keep_days` | whole number, 1 to 3,650 | `7` |" in page
    assert "| `flows.capacity` | whole number, 1,024 to 16,777,216, a power of two | `262144` |" in page
    assert "| `services.NAME.share` | number, above 0 to 1 | `1.0` |" in page
    assert "| `radius.nat` | `both`, `inside`, `outside` | `both` |" in page
