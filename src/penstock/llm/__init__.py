"""What model providers say and expect on the wire. Pure: bytes and times come in, facts go out."""
