"""What is measured: a small program each, which speaks the protocol."""
