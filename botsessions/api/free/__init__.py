"""A server of grammY's free storage, which keeps what it is sent in the Django database."""
