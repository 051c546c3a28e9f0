from __future__ import annotations

import pytest

from trio_realtime._cli.configuration import AppTable, configured, unknown_variables
from trio_realtime._cli.serve import _add_options
from trio_realtime._cli.usage import UsageError


def settled(tmp_path, text="", arguments=(), environ=None):
    file = tmp_path / "app.toml"
    file.write_text(text)
    return configured(_add_options, ["--config", str(file), *arguments], environ or {})


def refusal(tmp_path, *args, **kwargs):
    with pytest.raises(UsageError) as caught:
        settled(tmp_path, *args, **kwargs)
    said = str(caught.value)
    assert said.endswith(".")
    assert len(said.splitlines()) == 1
    return said


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    text = 'port = 1\nhost = "file"\ndrain = 1.5\npublic-url = "http://file"'
    environ = {"TRIO_REALTIME_PORT": "2", "TRIO_REALTIME_HOST": "environ"}
    options, _ = settled(tmp_path, text, ["--port", "3"], environ)
    assert (options.port, options.host, options.drain) == (3, "environ", 1.5)
    assert options.public_url == "http://file"


def test_what_may_be_repeated_adds_up(tmp_path):
    text = 'origin = ["https://a"]\nenforce = "login"\n[limits]\njson_depth = 3'
    environ = {
        "TRIO_REALTIME_ORIGIN": "https://b https://c",
        "TRIO_REALTIME_LIMIT": "connections=5\nroom_return=2.5",
        "TRIO_REALTIME_ENFORCE": "history",
    }
    options, _ = settled(tmp_path, text, ["--origin", "https://d", "--enforce", "all"], environ)
    assert options.origin == ["https://a", "https://b", "https://c", "https://d"]
    assert options.limit == ["json_depth=3", "connections=5", "room_return=2.5"]
    assert options.enforce == ["login", "history", "all"]


def test_the_environment_may_name_the_file(tmp_path):
    file = tmp_path / "app.toml"
    file.write_text("port = 7")
    options, _ = configured(_add_options, [], {"TRIO_REALTIME_CONFIG": str(file)})
    assert options.port == 7


def test_without_file_and_environment_there_are_the_defaults():
    options, apps = configured(_add_options, [], {"TRIO_REALTIME_HOST": ""})
    assert (options.host, options.port, options.app, apps) == ("127.0.0.1", 8080, [], [])


def test_apps_of_the_file(tmp_path):
    text = """
        [[apps]]
        id = "shop"
        key = "k"
        master-key = "m"
        enforce = "all"
        origins = ["https://shop.example.com"]

        [[apps]]
        id = "game"
        key = "k"
        master-key = "a:colon is no matter"
    """
    _, apps = settled(tmp_path, text)
    assert apps == [
        AppTable(
            id="shop",
            key="k",
            master_key="m",
            enforce=["all"],
            origins=["https://shop.example.com"],
        ),
        AppTable(id="game", key="k", master_key="a:colon is no matter"),
    ]
    assert "colon" not in repr(apps)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = ", "app.toml is not TOML: "),
        ("speed = 3", "app.toml: There is no option 'speed'."),
        ("ready-json = true", "app.toml: There is no option 'ready-json'."),
        ('config = "other.toml"', "app.toml: There is no option 'config'."),
        ('port = "eighty"', "app.toml: argument --port: invalid int value: 'eighty'."),
        ("port = {a = 1}", "app.toml: port takes a text or a number."),
        ("a = " + "[" * 20_000, "app.toml cannot be a configuration: it is nested too deep."),
        ("#" * 1024 * 1024 + " ", "app.toml cannot be a configuration: it has more than a MiB."),
        ('members-only = "perhaps"', "app.toml: members-only is yes or no, not 'perhaps'."),
        ('data = "a\\u0000b"', "--data has characters that cannot be meant."),
        ('public-url = "http://a\\nb"', "--public-url has characters that cannot be meant."),
        ('origin = ["https://a", "\\u0007"]', "--origin has characters that cannot be meant."),
        ("port = true", "app.toml: port takes a text or a number."),
        ("limits = 3", "app.toml: limits is a table: [limits]."),
        ("[limits]\njson_depth = []", "app.toml: json_depth takes a text or a number."),
        ('enforce = ["everything"]', "app.toml: argument --enforce: invalid choice: 'everything'"),
        ("apps = 3", "app.toml: apps are tables, each under [[apps]]."),
        ('[[apps]]\nname = "x"', "app.toml: An app has no 'name'; it has id, key, master-key, "),
        ('[[apps]]\nid = ""', "app.toml: The id of an app is a text, and not empty."),
        ("[[apps]]\nid = 3", "app.toml: The id of an app is a text, and not empty."),
        ("[[apps]]\norigins = [3]", "app.toml: The origins of an app is a list of texts"),
        ('[[apps]]\nid = "x"\nkey = "k"', "app.toml: An app needs its master-key."),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


def test_no_key_is_repeated_in_what_is_said(tmp_path):
    assert "geheim" not in refusal(tmp_path, '[[apps]]\nmaster-key = "geheim"\nkey = ["geheim"]')


def test_a_wrong_variable_is_named(tmp_path):
    said = refusal(tmp_path, environ={"TRIO_REALTIME_PORT": "eighty"})
    assert said == "TRIO_REALTIME_PORT: argument --port: invalid int value: 'eighty'."


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(UsageError, match=r"There is no configuration file .*nowhere\.toml\."):
        configured(_add_options, ["--config", str(tmp_path / "nowhere.toml")], {})
    with pytest.raises(UsageError, match="cannot be read"):
        configured(_add_options, ["--config", str(tmp_path)], {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        configured(_add_options, ["--config", str(binary)], {})


def test_a_file_that_never_ends():
    with pytest.raises(UsageError, match="has more than a MiB"):
        configured(_add_options, ["--config", "/dev/zero"], {})


def test_a_mark_at_the_beginning_of_the_file_is_none_of_it(tmp_path):
    options, _ = settled(tmp_path, "\ufeffport = 7")
    assert options.port == 7


def test_bytes_in_the_environment_that_are_no_text():
    for name in ("TRIO_REALTIME_HOST", "TRIO_REALTIME_APP", "TRIO_REALTIME_CONFIG"):
        with pytest.raises(UsageError):
            configured(_add_options, [], {name: "\udcff\0"})


def test_the_file_that_the_environment_names_is_known(tmp_path):
    file = tmp_path / "app.toml"
    file.write_text("")
    options, _ = configured(_add_options, [], {"TRIO_REALTIME_CONFIG": str(file)})
    assert options.config == file


def test_variables_that_mean_nothing_are_told():
    options, _ = configured(_add_options, [], {})
    environ = {
        "TRIO_REALTIME_ENFORCED": "all",
        "trio_realtime_enforce": "all",
        "TRIO_REALTIME_READY_JSON": "1",
        "TRIO_REALTIME_ENFORCE": "all",
        "TRIO_REALTIME_CONFIG": "x",
        "PATH": "x",
    }
    assert unknown_variables(environ, options) == [
        "TRIO_REALTIME_ENFORCED",
        "TRIO_REALTIME_READY_JSON",
        "trio_realtime_enforce",
    ]
