"""Updates that Telegram sends to the web project: the view, and the bots behind it."""
