"""Serving the apps: what is checked before a server starts, and what the child is told. tests/browser does the rest."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path

import pytest

from crimeface_lib.apps.face_viewer import MAX_BYTES
from crimeface_lib.core.errors import ConfigError, CrimefaceError, InputError, NotFoundError
from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting.style import css_variables
from crimeface_lib.workflow import serve

VOILA = Path(__file__).resolve().parents[2] / "configs" / "voila"


def test_a_port_in_use_is_told_with_a_remedy(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(InputError, match=rf"{port} can't be used .*--port {port + 1}"),
            serve.running_apps(port=port, settings=Settings(home=tmp_path)),
        ):
            pass


def test_a_folder_without_apps_is_told(tmp_path):
    with (
        pytest.raises(NotFoundError, match="CRIMEFACE_PROJECT_ROOT"),
        serve.running_apps(port=1, settings=Settings(project_root=tmp_path, home=tmp_path)),
    ):
        pass


def test_a_server_that_dies_at_once_is_told_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(serve.sys, "executable", "/bin/false" if Path("/bin/false").exists() else sys.executable)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(CrimefaceError, match=r"did not start .*server\.log"),
        serve.running_apps(port=port, settings=Settings(home=tmp_path)),
    ):
        pass
    assert (tmp_path / "apps" / "server.log").stat().st_mode & 0o777 == 0o600


def test_a_wrong_setting_of_the_apps_is_told_before_a_server_starts(tmp_path):
    for folder in ("notebooks/apps", "configs/voila"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "configs" / "apps.yaml").write_text("crime_map: {tiles: 'ftp://example.org'}")
    with (
        pytest.raises(ConfigError, match=r"apps\.yaml: crime_map\.tiles"),
        serve.running_apps(port=1, settings=Settings(project_root=tmp_path, home=tmp_path)),
    ):
        pass


def test_the_child_gets_absolute_folders_and_the_token_by_its_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_root=Path("data"), home=tmp_path / "home")
    child = serve._environment(settings, VOILA, "secret")
    assert child["CRIMEFACE_DATA_ROOT"] == str(tmp_path / "data")
    assert child["CRIMEFACE_HOME"] == str(tmp_path / "home")
    assert child["JUPYTER_TOKEN"] == "secret"
    assert child["JUPYTER_PATH"].split(":")[0] == str(VOILA.parent)


def test_the_settings_keep_pages_closed():
    config = json.loads((VOILA / "voila.json").read_text())
    voila = config["VoilaConfiguration"]
    assert voila["strip_sources"] is True
    assert voila["show_tracebacks"] is False
    assert voila["file_allowlist"] == []
    assert {voila["allow_template_override"], voila["allow_theme_override"]} == {"NO"}, "nothing is taken from the URL"
    tornado = config["Voila"]["tornado_settings"]
    assert isinstance(tornado["websocket_max_message_size"], int)
    assert tornado["websocket_max_message_size"] > 4 * MAX_BYTES, "a photo over the limit must still be answered"
    assert "default-src 'self'" in tornado["headers"]["Content-Security-Policy"]
    assert config["KernelManager"]["transport"] == "ipc"


def test_our_template_names_no_address_elsewhere_and_has_the_palette_of_the_reports():
    folder = VOILA / "templates" / "crimeface"
    for file in folder.rglob("*"):
        if file.is_file():
            assert not re.search(r"""[\w"'(=]:?//""", file.read_text()), file.name
    assert (folder / "static" / "apps.css").read_text().splitlines()[0] == css_variables()
