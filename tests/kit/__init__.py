"""What several tests, campaigns and measurements share; none of it imports the runner."""
