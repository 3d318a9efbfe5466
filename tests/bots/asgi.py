from django.core.asgi import get_asgi_application

from botsessions.asgi import WebhookMiddleware

application = get_asgi_application()
with_webhooks = WebhookMiddleware(application)
