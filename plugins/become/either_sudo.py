"""Becoming root by sudo, in either of its implementations."""

from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.become.sudo import BecomeModule as Sudo

DOCUMENTATION = """
name: either_sudo
short_description: sudo, the original or sudo-rs
description:
  - Like C(sudo), and knows the prompt of sudo-rs as well, which is Ubuntu's sudo since 25.10.
    sudo-rs puts the prompt that it was asked for into one of its own, where C(sudo) waits for it
    in vain.
author: the sagequeue authors
options:
  become_user:
    description: Who to become.
    default: root
    ini: [{section: privilege_escalation, key: become_user}]
    vars: [{name: ansible_become_user}]
    env: [{name: ANSIBLE_BECOME_USER}]
    keyword: [{name: become_user}]
  become_exe:
    description: The program.
    default: sudo
    ini: [{section: privilege_escalation, key: become_exe}]
    vars: [{name: ansible_become_exe}]
    env: [{name: ANSIBLE_BECOME_EXE}]
    keyword: [{name: become_exe}]
  become_flags:
    description: Its options.
    default: -H -S -n
    ini: [{section: privilege_escalation, key: become_flags}]
    vars: [{name: ansible_become_flags}]
    env: [{name: ANSIBLE_BECOME_FLAGS}]
    keyword: [{name: become_flags}]
  become_pass:
    description: The password that it asks for.
    vars: [{name: ansible_become_password}, {name: ansible_become_pass}]
    env: [{name: ANSIBLE_BECOME_PASS}]
  sudo_chdir:
    description: The directory to enter first.
    type: string
    vars: [{name: ansible_sudo_chdir}]
    env: [{name: ANSIBLE_SUDO_CHDIR}]
"""


class BecomeModule(Sudo):  # type: ignore[misc]  # Ansible has no types
    """Ansible's own, with what sudo-rs says."""

    name = "either_sudo"

    def check_password_prompt(self, b_output: bytes) -> bool:
        """Whether sudo asks for the password: sudo-rs writes `[sudo: PROMPT] Password:`."""
        return bool(self.prompt) and to_bytes(self.prompt).strip() in b_output
