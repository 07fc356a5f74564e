"""The HTTP face: REST for tasks, an OpenAI-compatible gateway, events, metrics."""
