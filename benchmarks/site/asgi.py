from django.core.asgi import get_asgi_application

from botsessions.asgi import WebhookMiddleware

application = WebhookMiddleware(get_asgi_application())
