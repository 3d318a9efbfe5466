"""The app's own settings: their defaults, and that a change counts at once."""

from __future__ import annotations

from django.test import SimpleTestCase, override_settings

from botsessions import conf
from botsessions.secret import Secret


class Settings(SimpleTestCase):
    @override_settings(BOTSESSIONS=None)
    def test_without_any_there_are_defaults(self) -> None:
        assert conf.max_bytes() == 3 * 1024 * 1024
        assert conf.retry_seconds() == 30
        assert conf.metrics_token() is None
        assert conf.free_storage_limits() == conf.FREE_STORAGE_LIMITS

    def test_a_change_counts_at_once(self) -> None:
        for limit in (100, 200):
            with override_settings(BOTSESSIONS={"MAX_BYTES": limit, "RETRY_SECONDS": limit}):
                assert conf.max_bytes() == limit
                assert conf.retry_seconds() == limit

    @override_settings(BOTSESSIONS={"FREE_STORAGE": {"MAX_SESSIONS": 5}})
    def test_limits_that_are_not_named_have_their_defaults(self) -> None:
        limits = conf.free_storage_limits()
        assert limits == {**conf.FREE_STORAGE_LIMITS, "MAX_SESSIONS": 5}

    @override_settings(BOTSESSIONS={"METRICS_TOKEN": "opens the metrics"})
    def test_what_opens_something_does_not_show_itself(self) -> None:
        token = conf.metrics_token()
        assert isinstance(token, Secret)
        assert token.reveal() == "opens the metrics"
        assert "opens" not in repr(conf.app_settings())

    @override_settings(BOTSESSIONS={"METRICS_TOKEN": ""})
    def test_an_empty_token_opens_nothing(self) -> None:
        assert conf.metrics_token() is None
