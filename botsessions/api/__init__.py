"""Sessions over HTTP: a REST API, and a server of grammY's free storage."""
