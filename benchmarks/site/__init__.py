"""A Django site with a bot behind a webhook, for servers to serve."""
