"""What a play would misunderstand, in sentences; callback_plugins/refuse.py ends it with them."""

from pathlib import Path

PLAYBOOKS = Path(__file__).resolve().parents[1]
CLONE = PLAYBOOKS.parent
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # as the filter `bool`
