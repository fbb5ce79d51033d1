"""The OpenAI-compatible server: requests and replies are parsed and shaped here, and answered by one engine thread."""
