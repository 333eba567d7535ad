"""The service for language models: tools of the Model Context Protocol."""
