"""Attacks a machine of the scenario `recovery`, as its host."""
