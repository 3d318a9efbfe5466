from django.core.asgi import get_asgi_application

from botsessions.asgi import WebhookMiddleware
from botsessions.management.process import collect_seldom

application = WebhookMiddleware(get_asgi_application())
collect_seldom()  # As docs/webhooks.md shows it.
