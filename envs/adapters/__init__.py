"""Other people's environments in ours."""
