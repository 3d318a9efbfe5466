"""The clients that test bots."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from telegram import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)
from telegram.error import BadRequest
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ConversationHandler,
    InlineQueryHandler,
    MessageHandler,
    TypeHandler,
    filters,
)

from botsessions import enhance_storage, lazy_session, multi_session, session
from botsessions.database.connections import close_databases
from botsessions.exceptions import SessionError
from botsessions.keys import per_topic, per_user
from botsessions.models import BotSession
from botsessions.testing import BotClient

from .harness import Store, building, client, text


@dataclass
class Pizza:
    count: int = 0


async def count(update: Any, context: Any) -> None:
    context.session.count += 1


async def echo(update: Any, context: Any) -> None:
    await update.effective_message.reply_text(update.effective_message.text.upper())


def sync_client(*handlers: Any, declared: Any = None, **options: Any) -> BotClient:
    declared = declared or session(initial=Pizza, storage=Store())
    return BotClient(build=building(declared, *handlers), **options)


stored = session(initial=Pizza)
"""A session in the database."""


class InTestCase(TestCase):
    """G3: whichever of the two tests runs first, what it wrote is rolled back."""

    def test_g3_what_a_bot_writes_is_rolled_back(self) -> None:
        assert BotSession.objects.count() == 0
        maria = sync_client(count, declared=stored).user()
        maria.send("x")
        maria.send("x")
        assert BotSession.objects.get().data == {"count": 2}
        assert maria.session == Pizza(2)

    test_g3_what_a_bot_wrote_was_rolled_back = test_g3_what_a_bot_writes_is_rolled_back

    async def test_g3_what_a_bot_writes_in_an_async_test_is_rolled_back(self) -> None:
        assert await BotSession.objects.acount() == 0
        maria = client(stored, count).user()
        await maria.send("x")
        assert (await BotSession.objects.aget()).data == {"count": 1}
        assert await maria.session == Pizza(1)

    test_g3_what_a_bot_wrote_in_an_async_test_was_rolled_back = (
        test_g3_what_a_bot_writes_in_an_async_test_is_rolled_back
    )

    def test_handlers_that_use_the_orm_see_what_the_test_wrote_and_the_other_way_round(
        self,
    ) -> None:
        async def orm(update: Any, context: Any) -> None:
            assert await User.objects.filter(username="maria").aexists()
            await User.objects.acreate(username="bob")
            await sync_to_async(User.objects.create)(username="ann")

        User.objects.create(username="maria")
        sync_client(orm).user().send("x")
        assert User.objects.count() == 3

    async def test_handlers_that_use_the_orm_see_what_an_async_test_wrote(self) -> None:
        async def orm(update: Any, context: Any) -> None:
            assert await User.objects.filter(username="maria").aexists()
            await User.objects.acreate(username="bob")

        await User.objects.acreate(username="maria")
        assert (await client(stored, orm).user().send("x")).errors == []
        assert await User.objects.acount() == 2

    def test_edits_and_the_bot_see_each_other(self) -> None:
        maria = sync_client(count, declared=stored).user()
        maria.send("x")
        with stored.edit(str(maria.id)) as data:
            data.count += 10
        maria.send("x")
        assert maria.session == Pizza(12)

    def test_time_passes_for_what_expires(self) -> None:
        for_an_hour = enhance_storage(time_to_live=timedelta(hours=1))
        bot = sync_client(count, declared=session(initial=Pizza, storage=for_an_hour))
        maria = bot.user()
        maria.send("x")
        bot.let_time_pass(timedelta(minutes=59))
        assert maria.session == Pizza(1)
        bot.let_time_pass(timedelta(minutes=2))
        assert maria.session is None
        for wrong in (60, timedelta(0)):
            with pytest.raises((TypeError, ValueError), match="length must be"):
                bot.let_time_pass(wrong)  # type: ignore[arg-type]

    def test_clients_without_a_name_talk_to_the_bot_of_the_settings(self) -> None:
        maria = BotClient().user()
        maria.send("🍕")
        assert maria.send("/hunger").text == "Your hunger level is 1!"
        assert maria.session.pizza_count == 1


class InTransactionTestCase(TransactionTestCase):
    """G3: what was written is flushed."""

    def tearDown(self) -> None:
        close_databases()

    def test_g3_what_a_bot_writes_is_flushed(self) -> None:
        assert BotSession.objects.count() == 0
        sync_client(count, declared=stored).user().send("x")
        assert BotSession.objects.get().data == {"count": 1}

    async def test_g3_what_a_bot_writes_in_an_async_test_is_flushed(self) -> None:
        assert await BotSession.objects.acount() == 0
        await client(stored, count).user().send("x")
        assert (await BotSession.objects.aget()).data == {"count": 1}


@pytest.mark.parametrize("order", ["first", "second"])
def test_g3_the_db_fixture_rolls_back_what_a_bot_wrote(db: None, order: str) -> None:
    assert BotSession.objects.count() == 0
    sync_client(count, declared=stored).user().send("x")
    assert BotSession.objects.get().data == {"count": 1}


@pytest.mark.parametrize("order", ["first", "second"])
def test_g3_the_transactional_db_fixture_flushes_what_a_bot_wrote(
    transactional_db: None, order: str
) -> None:
    assert BotSession.objects.count() == 0
    sync_client(count, declared=stored).user().send("x")
    assert BotSession.objects.get().data == {"count": 1}


def test_g3_an_async_client_refuses_where_its_writes_would_stay(db: None) -> None:
    async def main() -> None:
        maria = client(stored, count).user()
        with pytest.raises(SessionError, match=r"BotClient.*TestCase.*transaction=True"):
            await maria.send("x")
        with pytest.raises(SessionError, match="would stay"):
            await maria.session

    assert connection.in_atomic_block
    asyncio.run(main())


def test_g3_an_async_client_works_where_there_is_no_transaction(transactional_db: None) -> None:
    async def main() -> Any:
        maria = client(stored, count).user()
        await maria.send("x")
        return await maria.session

    try:
        assert asyncio.run(main()) == Pizza(1)
    finally:
        close_databases()


def test_g3_an_async_client_of_a_bot_without_database_does_not_refuse(db: None) -> None:
    async def main() -> None:
        await client(session(initial=Pizza, storage=Store()), count).user().send("x")

    asyncio.run(main())


class Talking(SimpleTestCase):
    def test_text_is_answered(self) -> None:
        answers = sync_client(echo, echo).user().send("hello")
        assert answers.text == "HELLO"
        assert answers.texts == ["HELLO", "HELLO"]
        assert [message.chat_id for message in answers.messages] == [1001, 1001]
        assert answers.message is not None
        assert repr(answers.message) == f"<Message {answers.message.id}: 'HELLO' >"
        assert repr(answers) == "<Answers ['sendMessage', 'sendMessage']>"

    def test_no_answer_is_none(self) -> None:
        answers = sync_client(count).user().send("hello")
        assert (answers.text, answers.texts, answers.message, answers.notice) == (
            None,
            [],
            None,
            None,
        )
        assert (answers.buttons, answers.edited, answers.results, answers.calls) == ([], [], [], [])

    def test_commands_are_recognized_with_their_arguments(self) -> None:
        async def add(update: Any, context: Any) -> None:
            await update.effective_message.reply_text(" and ".join(context.args))

        maria = sync_client(CommandHandler("add", add)).user()
        assert maria.send("/add cheese ham").text == "cheese and ham"
        assert maria.send("/add@test_bot egg").text == "egg"
        assert maria.send("/add@other_bot egg").text is None
        assert maria.send("please /add egg").text is None

    def test_messages_of_every_kind_can_be_sent(self) -> None:
        async def note(update: Any, context: Any) -> None:
            seen.append(update.effective_message)

        seen: list[Any] = []
        maria = sync_client(note).user("Maria Rossi", id=7, language_code="it")
        maria.send(dice={"emoji": "🎲", "value": 6})
        maria.send(caption="Look!", photo=[photo()])
        assert seen[0].dice.value == 6
        assert seen[0].text is None
        assert (seen[1].caption, seen[1].photo[0].file_id) == ("Look!", "photo")
        user = seen[0].from_user
        assert (user.id, user.full_name, user.language_code) == (7, "Maria Rossi", "it")
        assert maria.id == 7

    def test_what_the_bot_says_elsewhere_is_among_its_answers(self) -> None:
        async def tell_bob(update: Any, context: Any) -> None:
            await context.bot.send_message(bob.id, "Maria says hi")

        bot = sync_client(tell_bob)
        bob = bot.user("Bob")
        assert bot.user("Maria").send("x").message.chat_id == bob.id
        assert [message.text for message in bob.messages] == ["Maria says hi"]

    def test_people_see_all_messages_of_their_chat(self) -> None:
        bot = sync_client(echo)
        ann, bob = bot.user("Ann"), bot.user("Bob")
        ann.send("a")
        bob.send("b")
        ann.send("c")
        assert [message.text for message in ann.messages] == ["a", "A", "c", "C"]

    def test_edited_messages_are_delivered_as_such(self) -> None:
        async def note(update: Any, context: Any) -> None:
            seen.append((update.edited_message.text, update.edited_message.message_id))

        seen: list[Any] = []
        maria = sync_client(MessageHandler(filters.UpdateType.EDITED_MESSAGE, note)).user()
        maria.send("pizza")
        maria.edit("pasta")
        assert seen == [("pasta", maria.messages[0].id)]
        assert maria.messages[0].text == "pasta"

    def test_there_must_be_something_to_edit(self) -> None:
        with pytest.raises(ValueError, match=r"send.*first"):
            sync_client(count).user().edit("x")

    def test_any_update_can_be_fed(self) -> None:
        async def note(update: Any, context: Any) -> None:
            seen.append(update)

        seen: list[Any] = []
        bot = sync_client(note)
        bot.feed({"poll": POLL})
        bot.feed({"update_id": 500, "poll": POLL})
        bot.feed(update := text(bot.user(), 7))
        bot.feed("no update of Telegram's")
        assert (seen[0].update_id, seen[0].poll.question) == (1, "Pizza?")
        assert seen[1].update_id == 500
        assert seen[2] is update
        assert seen[3] == "no update of Telegram's"


class Buttons(SimpleTestCase):
    def setUp(self) -> None:
        async def offer(update: Any, context: Any) -> None:
            rows = [[button("Yes", "yes"), button("No", "no")], [button("Later", "later")]]
            keyboard = InlineKeyboardMarkup(rows)
            await update.effective_message.reply_text("Pizza?", reply_markup=keyboard)

        async def pressed(update: Any, context: Any) -> None:
            query = update.callback_query
            context.session.count += 1
            await query.answer(f"You said {query.data}.")
            await query.edit_message_text(
                f"{query.data} {context.session.count}",
                reply_markup=InlineKeyboardMarkup([[button("Undo", "undo")]]),
            )

        async def undo(update: Any, context: Any) -> None:
            await update.callback_query.edit_message_text("Undone.")

        self.bot = sync_client(
            CommandHandler("offer", offer),
            CallbackQueryHandler(undo, "undo"),
            CallbackQueryHandler(pressed, "yes|no|later"),
        )
        self.maria = self.bot.user()

    def test_buttons_are_seen_row_by_row(self) -> None:
        answers = self.maria.send("/offer")
        assert answers.buttons == [["Yes", "No"], ["Later"]]
        assert "['Later']" in repr(answers.message)

    def test_a_button_is_pressed_by_its_label_or_its_data(self) -> None:
        self.maria.send("/offer")
        answers = self.maria.press("No")
        assert answers.notice == "You said no."
        assert [message.text for message in answers.edited] == ["no 1"]
        assert (answers.text, answers.buttons, answers.messages) == ("no 1", [["Undo"]], [])
        assert self.maria.press("undo").buttons == []

    def test_answers_stay_as_they_were_when_the_message_is_edited_later(self) -> None:
        offered = self.maria.send("/offer")
        self.maria.press("Yes")
        assert (offered.text, offered.buttons) == ("Pizza?", [["Yes", "No"], ["Later"]])
        assert self.maria.messages[-1].text == "yes 1"

    def test_the_newest_message_with_that_button_is_taken_unless_one_is_named(self) -> None:
        first = self.maria.send("/offer").message
        second = self.maria.send("/offer").message
        assert first is not None
        assert second is not None
        assert [m.id for m in self.maria.press("Yes").edited] == [second.id]
        assert [m.id for m in self.maria.press("Yes", message=first).edited] == [first.id]

    def test_an_unknown_button_is_an_error_that_names_those_that_are_there(self) -> None:
        with pytest.raises(ValueError, match=r"'Yes'; there are none"):
            self.maria.press("Yes")
        self.maria.send("/offer")
        with pytest.raises(ValueError, match=r"'Maybe'; there are Yes, No, Later"):
            self.maria.press("Maybe")

    def test_a_button_of_a_reply_keyboard_sends_its_text(self) -> None:
        async def offer(update: Any, context: Any) -> None:
            keyboard = ReplyKeyboardMarkup([["Pizza"], ["Pasta"]])
            await update.effective_message.reply_text("Well?", reply_markup=keyboard)

        async def reply(update: Any, context: Any) -> None:
            await update.effective_message.reply_text(f"{update.effective_message.text}!")

        maria = sync_client(
            CommandHandler("offer", offer), MessageHandler(filters.Regex("^Pas"), reply)
        ).user()
        assert maria.send("/offer").buttons == [["Pizza"], ["Pasta"]]
        assert maria.press("Pasta").text == "Pasta!"

    def test_a_reply_keyboard_can_be_removed(self) -> None:
        async def remove(update: Any, context: Any) -> None:
            sent = await update.effective_message.reply_text(
                "Gone.", reply_markup=ReplyKeyboardRemove()
            )
            assert sent.reply_markup is None

        assert sync_client(remove).user().send("x").buttons == []

    def test_the_session_is_that_of_the_chat_with_the_button(self) -> None:
        self.maria.send("/offer")
        self.maria.press("Later")
        assert self.maria.session == Pizza(1)


TOPICS = {"Ann": 3, "Bob": 4}


class Places(SimpleTestCase):
    def test_inline_queries_are_answered_with_results(self) -> None:
        async def suggest(update: Any, context: Any) -> None:
            context.session.count += 1
            result = {
                "type": "article",
                "id": "1",
                "title": update.inline_query.query.upper(),
                "input_message_content": {"message_text": "x"},
            }
            await context.bot.answer_inline_query(
                update.inline_query.id, [], api_kwargs={"results": [result]}
            )

        declared = session(initial=Pizza, storage=Store(), get_session_key=per_user)
        maria = sync_client(InlineQueryHandler(suggest), declared=declared).user()
        answers = maria.ask_inline("pizza")
        assert [result["title"] for result in answers.results] == ["PIZZA"]
        assert maria.session == Pizza(1)

    def test_people_in_a_group_share_its_session(self) -> None:
        bot = sync_client(count)
        group = bot.group("Family")
        ann, bob = bot.user("Ann").in_chat(group), bot.user("Bob").in_chat(group)
        ann.send("x")
        bob.send("x")
        assert group["id"] < 0
        assert ann.session == bob.session == Pizza(2)

    def test_a_person_has_different_sessions_in_different_chats(self) -> None:
        bot = sync_client(count)
        maria = bot.user()
        in_group = maria.in_chat(bot.supergroup())
        in_group.send("x")
        assert (maria.session, in_group.session) == (None, Pizza(1))

    def test_topics_of_a_forum(self) -> None:
        declared = session(initial=Pizza, storage=Store(), get_session_key=per_topic)
        bot = sync_client(count, echo, declared=declared)
        forum = bot.supergroup("Forum", is_forum=True)
        cheese = bot.user().in_chat(forum, topic=3)
        ham = bot.user().in_chat(forum, topic=4)
        answers = cheese.send("x")
        assert answers.message is not None
        assert answers.message.data["message_thread_id"] == 3
        assert (cheese.session, ham.session) == (Pizza(1), None)

    def test_buttons_below_the_answer_stay_in_the_topic(self) -> None:
        async def offer(update: Any, context: Any) -> None:
            button = InlineKeyboardButton("More", callback_data="more")
            await update.message.reply_text("?", reply_markup=InlineKeyboardMarkup([[button]]))

        async def more(update: Any, context: Any) -> None:
            context.session.count += 1

        for kind in "is_forum", "is_direct_messages":
            with self.subTest(kind):
                declared = session(initial=Pizza, storage=Store(), get_session_key=per_topic)
                handlers = MessageHandler(filters.TEXT, offer), CallbackQueryHandler(more)
                bot = sync_client(*handlers, declared=declared)
                chat = bot.supergroup("Pizza", **{kind: True})
                ann, bob = (
                    bot.user(name).in_chat(chat, topic=topic) for name, topic in TOPICS.items()
                )
                ann.send("Pizza?")
                ann.press("More")
                assert (ann.session, bob.session) == (Pizza(1), None)

    def test_channel_posts_have_no_sender(self) -> None:
        async def note(update: Any, context: Any) -> None:
            seen.append((update.channel_post.text, update.effective_user))
            context.session.count += 1

        async def note_edit(update: Any, context: Any) -> None:
            seen.append(update.edited_channel_post.text)

        seen: list[Any] = []
        bot = sync_client(
            MessageHandler(filters.UpdateType.CHANNEL_POST, note),
            MessageHandler(filters.UpdateType.EDITED_CHANNEL_POST, note_edit),
        )
        channel = bot.user().in_chat(bot.channel("News"))
        channel.send("Pizza is out.")
        channel.edit("Pizza is in.")
        assert seen == [("Pizza is out.", None), "Pizza is in."]
        assert channel.session == Pizza(1)

    def test_messages_of_a_business_connection(self) -> None:
        async def answer(update: Any, context: Any) -> None:
            context.session.count += 1
            message = update.effective_message
            await context.bot.send_message(
                message.chat.id, "Yes?", business_connection_id=message.business_connection_id
            )

        bot = sync_client(MessageHandler(filters.UpdateType.BUSINESS_MESSAGE, answer))
        maria = bot.user()
        customer = maria.in_chat(maria.place.chat, business="shop")
        answers = customer.send("Hello?")
        assert answers.message is not None
        assert answers.message.data["business_connection_id"] == "shop"
        assert (maria.session, customer.session) == (None, Pizza(1))

    def test_ids_can_be_chosen(self) -> None:
        bot = sync_client(count)
        assert bot.user(id=5).id == 5
        assert [bot.group(id=-5)["id"], bot.supergroup(id=-6)["id"]] == [-5, -6]
        assert bot.channel(id=-7)["id"] == -7


class Telegram(SimpleTestCase):
    """What the bot takes for Telegram."""

    def ask(self, ask: Any, **answers: Any) -> Any:
        returned: list[Any] = []

        async def handler(update: Any, context: Any) -> None:
            returned.append(await ask(context.bot, update.effective_chat.id))

        bot = sync_client(handler)
        bot.telegram.answers.update(answers)
        bot.user().send("x")
        return returned[0]

    def test_a_method_that_returns_data_says_how_to_set_its_answer(self) -> None:
        with pytest.raises(BadRequest, match=r"telegram.answers\['getChatMember'\]"):
            self.ask(lambda bot, chat: bot.get_chat_member(chat, 7))

    def test_answers_can_be_set(self) -> None:
        member = {"status": "left", "user": {"id": 7, "is_bot": False, "first_name": "Bob"}}
        found = self.ask(lambda bot, chat: bot.get_chat_member(chat, 7), getChatMember=member)
        assert found.status == "left"

    def test_methods_that_acknowledge_do(self) -> None:
        assert self.ask(lambda bot, chat: bot.send_chat_action(chat, "typing")) is True
        assert self.ask(lambda bot, chat: bot.delete_webhook()) is True
        assert self.ask(lambda bot, chat: bot.set_my_commands([("a", "A")])) is True

    def test_the_bot_knows_itself_and_the_chats(self) -> None:
        assert self.ask(lambda bot, chat: bot.get_me()).username == "test_bot"
        assert self.ask(lambda bot, chat: bot.get_chat(chat)).first_name == "Maria"
        assert self.ask(lambda bot, chat: bot.get_chat(-100)).type == "supergroup"
        assert self.ask(lambda bot, chat: bot.get_my_commands()) == ()

    def test_albums_are_several_messages(self) -> None:
        album = [InputMediaPhoto("one"), InputMediaPhoto("two")]
        sent = self.ask(lambda bot, chat: bot.send_media_group(chat, album))
        assert len({message.message_id for message in sent}) == 2

    def test_captions_count_as_text(self) -> None:
        async def show(update: Any, context: Any) -> None:
            await update.effective_message.reply_photo("photo", caption="Look!")

        assert sync_client(show).user().send("x").text == "Look!"

    def test_messages_can_be_deleted_copied_and_forwarded(self) -> None:
        async def work(update: Any, context: Any) -> None:
            message = update.effective_message
            await message.copy(message.chat_id)
            await message.forward(message.chat_id)
            await message.delete()

        bot = sync_client(work)
        maria = bot.user()
        answers = maria.send("x")
        assert [c.method for c in answers.calls] == [
            "copyMessage",
            "forwardMessage",
            "deleteMessage",
        ]
        assert len(maria.messages) == 2

    def test_what_is_not_there_cannot_be_edited(self) -> None:
        with pytest.raises(BadRequest, match="Message to edit not found"):
            self.ask(lambda bot, chat: bot.edit_message_text("x", chat, 999))

    def test_all_calls_are_remembered_with_parameters_and_results(self) -> None:
        bot = sync_client(echo)
        answers = bot.user().send("x")
        (call,) = answers.calls
        assert (call.method, call.parameters["text"], call.result["text"]) == (
            "sendMessage",
            "X",
            "X",
        )
        assert bot.telegram.calls[-1] is call


class Sessions(SimpleTestCase):
    def test_nothing_stored_is_none(self) -> None:
        assert sync_client(count).user().session is None

    def test_of_a_multi_session_the_fragments_are_attributes(self) -> None:
        async def work(update: Any, context: Any) -> None:
            context.session.chat.count += 1
            (await context.session.user).count += 2

        declared = multi_session(
            chat=session(initial=Pizza, storage=Store()),
            user=lazy_session(initial=Pizza, storage=Store(), get_session_key=per_user),
            other=session(initial=Pizza, storage=Store()),
        )
        maria = sync_client(work, declared=declared).user()
        maria.send("x")
        found = maria.session
        assert (found.chat, found.user, found.other) == (Pizza(1), Pizza(2), None)

    def test_conversations_keep_their_state_between_messages(self) -> None:
        async def ask(update: Any, context: Any) -> int:
            await update.effective_message.reply_text("Which?")
            return 0

        async def order(update: Any, context: Any) -> int:
            await update.effective_message.reply_text(f"One {update.effective_message.text}.")
            return ConversationHandler.END

        conversation = ConversationHandler(
            entry_points=[CommandHandler("order", ask)],
            states={0: [MessageHandler(filters.TEXT, order)]},
            fallbacks=[],
        )
        maria = sync_client(conversation).user()
        assert maria.send("Margherita").text is None
        assert maria.send("/order").text == "Which?"
        assert maria.send("Margherita").text == "One Margherita."
        assert maria.send("Margherita").text is None


class Errors(SimpleTestCase):
    async def fail(self, update: Any, context: Any) -> None:
        raise ValueError("broken handler")

    async def on_error(self, update: Any, context: Any) -> None:
        await update.effective_message.reply_text("Sorry!")

    def test_a_handlers_error_is_raised_to_the_test(self) -> None:
        maria = sync_client(self.fail).user()
        with pytest.raises(ValueError, match="broken handler"):
            maria.send("x")

    async def test_a_handlers_error_is_raised_to_an_async_test(self) -> None:
        maria = client(session(storage=Store()), self.fail, raise_errors=True).user()
        with pytest.raises(ValueError, match="broken handler"):
            await maria.send("x")

    def test_a_non_blocking_handlers_error_is_raised_to_the_test(self) -> None:
        maria = sync_client(MessageHandler(filters.ALL, self.fail, block=False)).user()
        with pytest.raises(ValueError, match="broken handler"):
            maria.send("x")

    def test_a_bot_with_error_handlers_is_left_to_them(self) -> None:
        build = building(session(storage=Store()), self.fail, errors=self.on_error)
        answers = BotClient(build=build).user().send("x")
        assert answers.text == "Sorry!"
        assert [str(error) for error in answers.errors] == ["broken handler"]

    def test_errors_may_be_raised_in_spite_of_error_handlers_or_not_at_all(self) -> None:
        build = building(session(storage=Store()), self.fail, errors=self.on_error)
        with pytest.raises(ValueError, match="broken handler"):
            BotClient(build=build, raise_errors=True).user().send("x")
        answers = sync_client(self.fail, raise_errors=False).user().send("x")
        assert len(answers.errors) == 1

    def test_the_client_goes_on_after_an_error(self) -> None:
        maria = sync_client(CommandHandler("fail", self.fail), echo).user()
        with pytest.raises(ValueError, match="broken handler"):
            maria.send("/fail")
        assert maria.send("x").text == "X"


class Tasks(SimpleTestCase):
    async def later(self, update: Any, context: Any) -> None:
        await asyncio.sleep(0.01)
        await update.effective_message.reply_text("done")

    async def forever(self, update: Any, context: Any) -> None:
        await asyncio.sleep(60)

    def test_tasks_are_waited_for(self) -> None:
        async def start(update: Any, context: Any) -> None:
            context.application.create_task(self.later(update, context), update=update)

        handler = MessageHandler(filters.ALL, self.later, block=False)
        assert sync_client(start, handler).user().send("x").texts == ["done", "done"]

    def test_they_need_not_be_waited_for(self) -> None:
        bot = sync_client(TypeHandler(Update, self.later, block=False))
        assert bot.user().send("x", wait=False).texts == []
        bot.close()
        assert [call.method for call in bot.telegram.calls][-1] == "sendMessage"

    def test_a_task_that_does_not_end_is_an_error_that_names_it_and_the_way_out(self) -> None:
        bot = sync_client(TypeHandler(Update, self.forever, block=False), timeout=0.01)
        with pytest.raises(TimeoutError, match=r"0.01 s: .*TypeHandler.*wait=False"):
            bot.user().send("x")

    def test_updates_that_handlers_put_into_the_queue_are_handled(self) -> None:
        async def again(update: Any, context: Any) -> None:
            if update.effective_message.text != "again":
                await context.update_queue.put(text(maria, words="again"))

        maria = sync_client(echo, again).user()
        assert maria.send("x").texts == ["X", "AGAIN"]

    async def test_updates_that_handlers_of_an_async_client_put_into_the_queue_are_handled(
        self,
    ) -> None:
        async def again(update: Any, context: Any) -> None:
            if update.effective_message.text != "again":
                await context.update_queue.put(text(maria, words="again"))

        maria = client(session(storage=Store()), echo, again).user()
        assert (await maria.send("x")).texts == ["X", "AGAIN"]

    async def test_answers_to_updates_that_are_handled_side_by_side_are_kept_apart(self) -> None:
        both, arrived = asyncio.Event(), []

        async def meet(update: Any, context: Any) -> None:
            arrived.append(update)
            if len(arrived) == 2:
                both.set()
            await both.wait()
            await update.effective_message.reply_text(update.effective_user.first_name)

        bot = client(session(initial=dict, storage=Store()), meet)
        answers = await asyncio.gather(bot.user("Ann").send("x"), bot.user("Bob").send("x"))
        assert [answer.texts for answer in answers] == [["Ann"], ["Bob"]]


class Clients(SimpleTestCase):
    async def test_the_sync_client_refuses_a_running_event_loop_and_names_the_other(self) -> None:
        with pytest.raises(SessionError, match="AsyncBotClient"):
            BotClient(build=building(session(storage=Store())))

    def test_the_sync_client_can_be_closed(self) -> None:
        with sync_client(count) as bot:
            bot.user().send("x")
        assert not bot.application.running

    async def test_the_async_client_can_be_closed(self) -> None:
        async with client(session(initial=Pizza, storage=Store()), count) as bot:
            await bot.user().send("x")
            assert bot.application.running
        assert not bot.application.running

    def test_a_client_that_is_forgotten_leaves_neither_a_thread_nor_a_task(self) -> None:
        def talk() -> None:
            async def handler(update: Any, context: Any) -> None:
                assert maria.id  # A circle: only the garbage collector ends it.

            maria = sync_client(handler).user()
            maria.send("x")

        before = set(threading.enumerate())
        talk()
        (thread,) = set(threading.enumerate()) - before
        gc.collect()
        thread.join(5)
        assert not thread.is_alive()

    def test_an_async_client_that_is_forgotten_lives_until_its_loop_ends(self) -> None:
        async def talk() -> None:
            await client(session(initial=Pizza, storage=Store()), count).user().send("x")

        async def talk_and_forget() -> list[bool]:
            await talk()
            await asyncio.to_thread(gc.collect)
            return [task.done() for task in asyncio.all_tasks() - {asyncio.current_task()}]

        assert asyncio.run(talk_and_forget()) == [False]


def button(label: str, data: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=data)


def photo() -> dict[str, Any]:
    return {"file_id": "photo", "file_unique_id": "photo", "width": 1, "height": 1}


POLL = {
    "id": "1",
    "question": "Pizza?",
    "options": [],
    "total_voter_count": 0,
    "is_closed": False,
    "is_anonymous": True,
    "type": "regular",
    "allows_multiple_answers": False,
    "allows_revoting": False,
    "members_only": False,
}
