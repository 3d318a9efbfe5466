import os
from typing import Any

from django.db import connection
from django.http import JsonResponse


def backend(request: Any = None) -> JsonResponse:
    """Tell which process has asked which of PostgreSQL's, and what that has answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), %s::int, pg_sleep(0.01)", [os.getpid()])
        answer = cursor.fetchone()
    return JsonResponse({"process": os.getpid(), "backend": answer[0], "answer": answer[1]})
