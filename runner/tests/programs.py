"""Programs and modules that stand in for others: they note what they are told, and answer."""

import os
from pathlib import Path

# Names mean what is loaded or installed, patterns only what is loaded, as systemd has it.
_SYSTEMCTL = """#!/bin/sh
verb=$2
shift 2
echo "$XDG_RUNTIME_DIR $DBUS_SESSION_BUS_ADDRESS" >"$0.session"
if [ "$verb $*" = "$(cat "$0.refused" 2>/dev/null)" ]; then cat "$0.said" >&2; exit 1; fi
[ "$verb" = show ] || echo "$verb $*" >>"$0.told"
cd "$0.loaded" || exit 1
for name; do
    case $verb:$name in
        show:--*) ;;
        show:*\\**) for unit in $name; do [ ! -e "$unit" ] || cat "$unit"; done ;;
        show:*) cat "$name" 2>/dev/null || cat "../systemctl.installed/$name" 2>/dev/null ||
            printf 'Id=%s\\nActiveState=inactive\\nUnitFileState=\\n\\n' "$name" ;;
        stop:*) sed -i 's/=active/=inactive/' "$name" ;;
        disable:--now) ;;
        disable:*) rm -f "../units/default.target.wants/$name"
            sed -i 's/=active/=inactive/; s/=enabled/=disabled/' "$name" ;;
    esac
done
"""


def program(directory: Path, name: str, text: str) -> Path:
    """A shell script of that name."""
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def without_inotify(directory: Path) -> dict[str, str]:
    """The environment of a Python that gets no inotify: a user has 128 instances of it."""
    (directory / "inotify_simple.py").write_text(
        "class INotify:\n    def __init__(self):\n        raise OSError\n"
        "class flags:\n    CREATE = MOVED_TO = DELETE = 1\n"
        "    MOVED_FROM = DELETE_SELF = MOVE_SELF = 1\n"
    )
    return {**os.environ, "PYTHONPATH": str(directory)}


class Systemctl:
    """A `systemctl` in `directory`; `units` is the directory of the user's units."""

    def __init__(self, directory: Path, units: Path) -> None:
        self._path = program(directory, "systemctl", _SYSTEMCTL)
        self._loaded = directory / "systemctl.loaded"
        self._installed = directory / "systemctl.installed"
        self._wants = units / "default.target.wants"
        for path in (self._loaded, self._installed, self._wants):
            path.mkdir()
        (directory / "units").symlink_to(units)

    def has(
        self, name: str, state: str = "active", *, enabled: bool = True, loaded: bool = True,
        **more: object,
    ) -> None:  # fmt: skip
        """There is such a unit; `more` is told of it, too."""
        enablement = "enabled" if enabled else "disabled"
        facts = {"Id": name, "ActiveState": state, "UnitFileState": enablement, **more}
        text = "".join(f"{key}={value}\n" for key, value in facts.items())
        (self._loaded if loaded else self._installed).joinpath(name).write_text(f"{text}\n")
        if enabled:
            (self._wants / name).touch()

    def refuses(self, order: str, said: str) -> None:
        """That order fails, with those words."""
        self._path.with_suffix(".refused").write_text(order)
        self._path.with_suffix(".said").write_text(f"{said}\n")

    @property
    def orders(self) -> list[str]:
        """What it was told to do, so far."""
        path = self._path.with_suffix(".told")
        return path.read_text().splitlines() if path.exists() else []

    @property
    def session(self) -> str:
        """The runtime directory and the bus, as its environment had them."""
        return self._path.with_suffix(".session").read_text().strip()
