"""A site whose code asks the database when it is imported, in more than one thread."""

from threading import Thread

from django.core.wsgi import get_wsgi_application

from .backends import backend

application = get_wsgi_application()

backend()
other = Thread(target=backend)
other.start()
other.join()
