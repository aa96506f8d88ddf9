"""What an editor is told about a configuration, with the real channels."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from knell.cli.main import cli

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def schema() -> Any:
    """Return a validator of what `knell schema` prints."""
    printed = CliRunner().invoke(cli, ["schema"])
    assert printed.exit_code == 0
    return jsonschema.Draft202012Validator(yaml.safe_load(printed.stdout))


def test_the_packaged_configuration_is_valid(schema: Any) -> None:
    """No line of the default configuration is marked as wrong."""
    config = yaml.safe_load((ROOT / "config" / "notifications.yaml").read_text(encoding="utf-8"))
    assert list(schema.iter_errors(config)) == []


@pytest.mark.parametrize(
    "section",
    [
        {"slack": {"webhok_url": "https://hooks.slack.com/x"}},
        {"ops": {"type": "email", "smtp_port": "many"}},
        {"webhook": {"url": "https://example.com", "method": "GET"}},
    ],
)
def test_a_wrong_key_or_value_is_marked(schema: Any, section: dict[str, Any]) -> None:
    """Misspelt keys and values of the wrong kind are found, by section name and by type."""
    with pytest.raises(jsonschema.ValidationError):
        schema.validate({"channels": section})
