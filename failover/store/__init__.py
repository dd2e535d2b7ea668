"""Where the state of the gates lives."""
