"""What plugins/callback/progress.py is made of. No module here needs Ansible."""
