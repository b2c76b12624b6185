"""What playbooks/callback_plugins/progress.py is made of. No module here needs Ansible."""
