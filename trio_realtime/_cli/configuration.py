"""Where the options of a command come from: a file, the environment, the command line.

Whatever can be said on the command line can be said in a TOML file under the same name
(``public-url = "https://im.example.com"``) and in a variable of the environment
(``TRIO_REALTIME_PUBLIC_URL``). The command line wins over the environment, which wins over the
file; what may be repeated adds up. Keys belong into the file or the environment: everybody on
the machine can read the command line of a process.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from .usage import UsageError

PREFIX = "TRIO_REALTIME_"
LARGEST_FILE = 1024 * 1024

OF_THE_COMMAND_LINE = frozenset({"config", "ready_json", "help"})
"""Options that say something about one call only."""
LINES = frozenset({"web_hook_header", "leanengine_hook_key"})
"""Options whose values may hold spaces: in the environment each stands on a line of its own."""


@attrs.frozen(kw_only=True)
class AppTable:
    """One ``[[apps]]`` of the file."""

    id: str
    key: str
    master_key: str = attrs.field(repr=False)
    enforce: Sequence[str] = ()
    origins: Sequence[str] | None = None
    leanengine: str | None = None
    leanengine_hook_key: str | None = attrs.field(default=None, repr=False)


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would end the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def configured(
    add_options: Callable[[argparse.ArgumentParser], None],
    arguments: Sequence[str],
    environ: Mapping[str, str],
) -> tuple[argparse.Namespace, list[AppTable]]:
    """The options of a call, from everywhere, and the apps of its file.

    Raises:
        UsageError: the file or the environment says something that cannot be meant.
    """
    parser = _Parser(add_help=False)
    add_options(parser)
    defaults = vars(parser.parse_args([]))
    given = parser.parse_args(arguments)
    path = given.config or environ.get(PREFIX + "CONFIG") or None
    if "\0" in str(path):
        raise UsageError("--config has characters that cannot be meant.")
    from_file: list[str] = []
    apps: list[AppTable] = []
    if path is not None:
        table = _read(Path(path))
        apps = [_app(path, entry) for entry in _tables(path, table.pop("apps", []))]
        from_file = _arguments_of_file(path, table, defaults)
        _checked(parser, from_file, str(path))
    from_environ = [
        argument
        for name, text in sorted(_of_environ(environ, defaults))
        for argument in _checked(parser, _as_arguments(name, text, defaults), _variable(name))
    ]
    options = parser.parse_args([*from_file, *from_environ, *arguments])
    options.config = None if path is None else Path(path)
    _check_texts(options)
    return options, apps


def unknown_variables(environ: Mapping[str, str], options: argparse.Namespace) -> list[str]:
    """Variables that look as if they were meant, and are not."""
    known = {_variable(name) for name in vars(options) if name not in OF_THE_COMMAND_LINE}
    known.add(PREFIX + "CONFIG")
    return sorted(name for name in environ if name.upper().startswith(PREFIX) and name not in known)


def _check_texts(options: argparse.Namespace) -> None:
    for name, value in vars(options).items():
        for one in value if isinstance(value, list) else [value]:
            # Names of files may be of any bytes but zero.
            strange = "\0" in str(one) if isinstance(one, Path) else not str(one).isprintable()
            if strange:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} has characters that cannot be meant.")


def _checked(parser: _Parser, arguments: list[str], source: str) -> list[str]:
    try:
        parser.parse_args(arguments)
    except UsageError as error:
        raise UsageError(f"{source}: {_sentence(str(error))}") from None
    return arguments


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


# The file.


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"{path} cannot be a configuration: it has more than a MiB.")
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"There is no configuration file {path}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except RecursionError as error:
        raise UsageError(f"{path} cannot be a configuration: it is nested too deep.") from error
    except ValueError as error:
        # The message says where; it repeats nothing of a key.
        raise UsageError(f"{path} is not TOML: {_sentence(str(error))}") from error


def _arguments_of_file(
    path: str | Path, table: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[str]:
    arguments: list[str] = []
    for key, value in table.items():
        if key == "limits":
            if not isinstance(value, dict):
                raise UsageError(f"{path}: limits is a table: [limits].")
            arguments += [f"--limit={name}={_text(path, name, n)}" for name, n in value.items()]
            continue
        name = key.replace("-", "_")
        if name not in defaults or name in OF_THE_COMMAND_LINE:
            raise UsageError(f"{path}: There is no option {key!r}.")
        arguments += _as_arguments(name, value, defaults, path)
    return arguments


def _tables(path: str | Path, value: object) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    raise UsageError(f"{path}: apps are tables, each under [[apps]].")


def _app(path: str | Path, entry: Mapping[str, Any]) -> AppTable:
    names = {field.name.replace("_", "-"): field.name for field in attrs.fields(AppTable)}
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in names:
            raise UsageError(f"{path}: An app has no {key!r}; it has {', '.join(names)}.")
        several = names[key] in {"enforce", "origins"}
        if several and isinstance(value, str):
            value = [value]  # noqa: PLW2901 - one is as good as a list of one
        fits = (
            isinstance(value, list) and all(isinstance(one, str) and one for one in value)
            if several
            else isinstance(value, str) and value
        )
        if not fits:
            kind = "a list of texts" if several else "a text"
            raise UsageError(f"{path}: The {key} of an app is {kind}, and not empty.")
        values[names[key]] = value
    for key in ("id", "key", "master-key"):
        if names[key] not in values:
            raise UsageError(f"{path}: An app needs its {key}.")
    return AppTable(**values)


# Values.


def _as_arguments(
    name: str, value: object, defaults: Mapping[str, Any], path: str | Path = ""
) -> list[str]:
    """What would be written on the command line for it."""
    option = "--" + name.replace("_", "-")
    if isinstance(defaults[name], bool):
        truth = value if isinstance(value, bool) else _truth(path, name, str(value))
        return [option] if truth else []
    values = value if isinstance(value, list) else [value]
    return [f"{option}={_text(path, option[2:], one)}" for one in values]


def _text(path: str | Path, key: str, value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise UsageError(f"{path}: {key} takes a text or a number.")


def _truth(path: str | Path, name: str, text: str) -> bool:
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "0": False,
        "false": False,
        "no": False,
        "": False,
    }
    if text.lower() not in known:
        source = f"{path}: {name.replace('_', '-')}" if path else _variable(name)
        raise UsageError(f"{source} is yes or no, not {text!r}.")
    return known[text.lower()]


# The environment.


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _of_environ(
    environ: Mapping[str, str], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, object]]:
    for name, default in defaults.items():
        text = environ.get(_variable(name))
        if name in OF_THE_COMMAND_LINE or not text:
            continue
        if isinstance(default, list):
            yield name, text.splitlines() if name in LINES else text.split()
        else:
            yield name, text
