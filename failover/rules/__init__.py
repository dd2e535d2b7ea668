"""The gates as pure state machines: plain state in, decisions out, ``now`` always an argument."""
