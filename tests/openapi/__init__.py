"""docs/openapi.json and docs/schemas/: what the API replies, from the code that replies."""
