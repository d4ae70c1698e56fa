"""The settings, the TOML file that explains them and the page made from it say the same."""

import os
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from service.settings import Settings
from tests import configuration_page


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No file and no variable of whoever runs the tests takes part."""
    for name in list(os.environ):
        if name.startswith("MEDIAGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def fields() -> dict[tuple[str, str], object]:
    """Every setting of the model with its default."""
    found = {}
    for group, value in Settings():
        assert isinstance(value, BaseModel)
        for name, default in value:
            found[group, name] = default
    return found


def plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else value


def test_file_names_every_setting_and_no_other():
    named = [(setting.group, setting.name) for setting in configuration_page.settings()]
    assert named == list(fields())


def test_file_has_the_defaults_of_the_model():
    written = tomllib.loads(configuration_page.CONFIG.read_text("utf-8"))
    for (group, name), default in fields().items():
        if default is None:
            assert name not in written[group]
        else:
            value = written[group][name]
            assert (value, type(value)) == (plain(default), type(plain(default))), f"{group}.{name}"


def test_file_loads_and_changes_nothing(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_CONFIG", str(configuration_page.CONFIG))
    assert Settings() == Settings.model_construct()


def test_page_is_made_from_the_file():
    assert configuration_page.PAGE.read_text("utf-8") == configuration_page.page()


def test_default_file_is_read_from_the_working_directory():
    Path("config").mkdir()
    Path("config/mediagate.toml").write_text("[http]\nport = 9090\n")
    assert Settings().http.port == 9090


def test_missing_named_file_is_an_error(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_CONFIG", "nowhere.toml")
    with pytest.raises(FileNotFoundError):
        Settings()


@pytest.mark.parametrize("text", ["[http]\nprot = 1\n", "[htpp]\nport = 1\n", "port = 1\n"])
def test_unknown_name_in_the_file_is_refused(text):
    Path("config").mkdir()
    Path("config/mediagate.toml").write_text(text)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings()


def test_unknown_field_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_HTTP__PROT", "1")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_variables_of_the_command_line_client_are_no_settings(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("MEDIAGATE_KEY", "mg_x_y")
    assert Settings() == Settings.model_construct()


def test_environment_goes_before_the_file(monkeypatch):
    Path("config").mkdir()
    Path("config/mediagate.toml").write_text("[http]\nport = 9090\nhost = '::1'\n")
    monkeypatch.setenv("MEDIAGATE_HTTP__PORT", "7070")
    settings = Settings()
    assert (settings.http.port, settings.http.host) == (7070, "::1")


def test_lists_in_the_environment_are_json(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_HTTP__CORS_ORIGINS", '["https://a.example", "https://b.example"]')
    assert Settings().http.cors_origins == ("https://a.example", "https://b.example")


def test_secret_is_read_from_a_file(monkeypatch):
    Path("hush").write_text("s3kr1t\n")
    monkeypatch.setenv("MEDIAGATE_S3__SECRET_KEY_FILE", "hush")
    monkeypatch.setenv("MEDIAGATE_AUTH__ROOT_KEY_FILE", "hush")
    settings = Settings()
    assert settings.s3.secret_key.get_secret_value() == "s3kr1t"
    assert settings.auth.root_key == SecretStr("s3kr1t")
    assert "s3kr1t" not in repr(settings)


def test_value_goes_before_the_file_of_a_secret(monkeypatch):
    Path("hush").write_text("from the file")
    monkeypatch.setenv("MEDIAGATE_S3__SECRET_KEY_FILE", "hush")
    monkeypatch.setenv("MEDIAGATE_S3__SECRET_KEY", "direct")
    assert Settings().s3.secret_key.get_secret_value() == "direct"


def test_grace_must_outlast_the_longest_download(monkeypatch):
    monkeypatch.setenv("MEDIAGATE_SWEEP__GRACE_S", "60")
    with pytest.raises(ValidationError, match="max_download_s must be shorter"):
        Settings()


def test_readme_table_has_real_variables_with_their_defaults():
    defaults = {
        setting.variable: setting.default or "none" for setting in configuration_page.settings()
    }
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
        for line in (configuration_page.ROOT / "README.md").read_text("utf-8").splitlines()
        if line.startswith("| `MEDIAGATE_")
    ]
    assert len(rows) >= 10
    for variable, default, _ in rows:
        assert defaults[variable] == default, variable
