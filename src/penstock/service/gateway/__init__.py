"""The OpenAI-compatible gateway: clients change their base URL, and their calls wait their turn."""
