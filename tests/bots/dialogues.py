"""Bots with conversations, as python-telegram-bot's users write them: they know no sessions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    InvalidCallbackData,
    MessageHandler,
    filters,
)

WORDS = filters.TEXT & ~filters.COMMAND
Context = ContextTypes.DEFAULT_TYPE
END = ConversationHandler.END

NAME, CITY, SIZE, NOTE = range(4)


async def order(update: Update, context: Context) -> int:
    context.user_data.clear()
    await update.message.reply_text("Name?")
    return NAME


def asking(field: str, question: str, state: int) -> Any:
    """Return a callback that keeps the answer and asks the next question."""

    async def answer(update: Update, context: Context) -> int:
        context.user_data[field] = update.message.text
        await update.message.reply_text(question)
        return state

    return answer


async def finish(update: Update, context: Context) -> int:
    context.user_data["note"] = update.message.text
    context.chat_data.setdefault("orders", {})[update.effective_user.id] = dict(context.user_data)
    await update.message.reply_text(", ".join(context.user_data.values()))
    return END


async def cancel(update: Update, context: Context) -> int:
    await update.message.reply_text("Cancelled.")
    return END


def ordering(**options: Any) -> ConversationHandler[Any]:
    """Four questions, one after the other."""
    return ConversationHandler(
        entry_points=[CommandHandler("order", order)],
        states={
            NAME: [MessageHandler(WORDS, asking("name", "City?", CITY))],
            CITY: [MessageHandler(WORDS, asking("city", "Size?", SIZE))],
            SIZE: [MessageHandler(filters.Regex("^(small|large)$"), asking("size", "Note?", NOTE))],
            NOTE: [MessageHandler(WORDS, finish)],
        },
        fallbacks=[CommandHandler("cancel", cancel)],
        name="ordering",
        persistent=True,
        **options,
    )


def build_ordering(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(ordering())
    return application


def buttons(*labels: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(text, callback_data=text)] for text in labels]
    )


MENU, MEMBER, STOPPED = map(chr, range(3))  # As many bots name their states. The first is a NUL.


async def family(update: Update, context: Context) -> str:
    context.user_data.setdefault("family", [])
    await update.message.reply_text("What?", reply_markup=buttons("add", "done"))
    return MENU


async def add(update: Update, context: Context) -> str:
    await update.callback_query.answer()
    await update.callback_query.edit_message_text("Who?")
    return MEMBER


async def member(update: Update, context: Context) -> int:
    context.user_data["family"].append(update.message.text)
    await update.message.reply_text("What?", reply_markup=buttons("add", "done"))
    return END


async def stop_within(update: Update, context: Context) -> str:
    await update.message.reply_text("Stopped.")
    return STOPPED


async def done(update: Update, context: Context) -> int:
    await update.callback_query.edit_message_text(" and ".join(context.user_data["family"]))
    return END


def build_family(builder: Any) -> Any:
    """A conversation within another one."""
    adding = ConversationHandler(
        entry_points=[CallbackQueryHandler(add, "^add$")],
        states={MEMBER: [MessageHandler(WORDS, member)]},
        fallbacks=[CommandHandler("stop", stop_within)],
        map_to_parent={END: MENU, STOPPED: END},
        name="adding",
        persistent=True,
    )
    parent = ConversationHandler(
        entry_points=[CommandHandler("family", family)],
        states={MENU: [adding, CallbackQueryHandler(done, "^done$")]},
        fallbacks=[CommandHandler("cancel", cancel)],
        name="family",
        persistent=True,
    )
    application = builder.build()
    application.add_handler(parent)
    return application


HOME, ADDING, WHO, ME, FEATURES, TYPING, SHOWN = range(7)


def menu(text: str, state: int, *labels: str) -> Any:
    """Return a callback that offers what comes next, below a new message or in place of one."""

    async def offer(update: Update, context: Context) -> int:
        keyboard = buttons(*labels) if labels else None
        if update.callback_query:
            await update.callback_query.answer()
            context.user_data["pressed"] = update.callback_query.data
            await update.callback_query.edit_message_text(text, reply_markup=keyboard)
        else:
            await update.message.reply_text(text, reply_markup=keyboard)
        return state

    return offer


house = menu("What?", HOME, "add", "me", "show", "bye")
relative = menu("Whom?", ADDING, "parent", "child", "show", "back")
person = menu("Parent or child:", WHO, "describe", "back")
myself = menu("You:", ME, "describe")
described = menu("Describe:", FEATURES, "name", "age", "done")
typing = menu("Type it.", TYPING)


async def enter(update: Update, context: Context) -> int:
    return await house(update, context)


async def add_relative(update: Update, context: Context) -> int:
    return await relative(update, context)


async def describe(update: Update, context: Context) -> int:
    context.user_data["features"] = {}
    return await described(update, context)


async def typed(update: Update, context: Context) -> int:
    context.user_data["features"][context.user_data["pressed"]] = update.message.text
    return await described(update, context)


async def described_all(update: Update, context: Context) -> int:
    context.user_data.setdefault("people", []).append(context.user_data.pop("features"))
    await relative(update, context)
    return END


async def show(update: Update, context: Context) -> int:
    people = [" ".join(one.values()) for one in context.user_data.get("people", ())]
    await menu(f"People: {', '.join(people)}", SHOWN, "back")(update, context)
    return SHOWN


async def back(update: Update, context: Context) -> int:
    await house(update, context)
    return END


async def leave(update: Update, context: Context) -> int:
    await update.callback_query.edit_message_text("Bye.")
    return END


def build_household(builder: Any) -> Any:
    """Conversations at three levels, without names, of which the innermost is in both others."""

    def pressed(label: str, callback: Any) -> CallbackQueryHandler[Any, Any]:
        return CallbackQueryHandler(callback, f"^({label})$")

    describing = ConversationHandler(
        entry_points=[pressed("describe", describe)],
        states={FEATURES: [pressed("name|age", typing)], TYPING: [MessageHandler(WORDS, typed)]},
        fallbacks=[pressed("done", described_all), CommandHandler("stop", stop_within)],
        map_to_parent={END: ADDING, STOPPED: STOPPED},
    )
    adding = ConversationHandler(
        entry_points=[pressed("add", add_relative)],
        states={ADDING: [pressed("parent|child", person)], WHO: [describing]},
        fallbacks=[
            pressed("show", show),
            pressed("back", back),
            CommandHandler("stop", stop_within),
        ],
        map_to_parent={SHOWN: SHOWN, END: HOME, STOPPED: END},
    )
    choices = [adding, pressed("show", show), pressed("me", myself), pressed("bye", leave)]
    household = ConversationHandler(
        entry_points=[CommandHandler("start", enter)],
        states={
            SHOWN: [pressed("back", house)],
            HOME: choices,
            ADDING: choices,
            ME: [describing],
            STOPPED: [CommandHandler("start", enter)],
        },
        fallbacks=[CommandHandler("stop", cancel)],
    )
    application = builder.build()
    application.add_handler(household)
    return application


async def poll(update: Update, context: Context) -> None:
    await update.message.reply_text("0", reply_markup=buttons("up", "close"))


async def up(update: Update, context: Context) -> str:
    query = update.callback_query
    await query.answer()
    await query.edit_message_text(
        str(int(query.message.text) + 1), reply_markup=buttons("up", "close")
    )
    return "counting"


async def close(update: Update, context: Context) -> int:
    await update.callback_query.edit_message_text("closed")
    return END


def build_counters(builder: Any) -> Any:
    """A conversation per message; only one that was counted up can be closed."""
    counting = ConversationHandler(
        entry_points=[CallbackQueryHandler(up, "^up$")],
        states={"counting": [CallbackQueryHandler(up, "^up$")]},
        fallbacks=[CallbackQueryHandler(close, "^close$")],
        per_message=True,
        name="counting",
        persistent=True,
    )
    application = builder.build()
    application.add_handler(counting)
    application.add_handler(CommandHandler("poll", poll))
    return application


gates: dict[str, asyncio.Event] = {}


async def work(update: Update, context: Context) -> str:
    await gates["work"].wait()
    if update.message.text == "fail":
        raise ValueError
    return "worked"


async def busy(update: Update, context: Context) -> None:
    await update.message.reply_text("Wait.")


async def worked(update: Update, context: Context) -> int:
    await update.message.reply_text("It has worked.")
    return END


def build_working(builder: Any, **options: Any) -> Any:
    """A conversation with a step that takes long."""
    working = ConversationHandler(
        entry_points=[CommandHandler("start", begin)],
        states={
            "begun": [MessageHandler(WORDS, work, block=False)],
            "worked": [MessageHandler(WORDS, worked)],
            ConversationHandler.WAITING: [MessageHandler(WORDS, busy)],
        },
        fallbacks=[],
        name="working",
        persistent=True,
        **options,
    )
    application = builder.build()
    application.add_handler(working)
    return application


async def begin(update: Update, context: Context) -> str:
    await update.message.reply_text("Begun.")
    return "begun"


async def too_late(update: Update, context: Context) -> None:
    context.user_data["late"] = context.user_data.get("late", 0) + 1
    await update.effective_message.reply_text(f"Too late, {context.user_data.get('name')}.")


def hurried(seconds: float = 60) -> ConversationHandler[Any]:
    """The four questions, to be answered in time."""
    hurry = ordering(conversation_timeout=timedelta(seconds=seconds))
    hurry.states[ConversationHandler.TIMEOUT] = [MessageHandler(filters.ALL, too_late)]
    return hurry


def build_hurried(builder: Any) -> Any:
    application = builder.build()
    application.add_handler(hurried())
    return application


@dataclass(frozen=True)
class Pick:
    """What a button stands for."""

    basket: tuple[str, ...]
    finished: bool = False


def shelf(basket: tuple[str, ...]) -> InlineKeyboardMarkup:
    picks = {fruit: Pick((*basket, fruit)) for fruit in ("apple", "plum")}
    return InlineKeyboardMarkup.from_column(
        [
            InlineKeyboardButton(text, callback_data=pick)
            for text, pick in {**picks, "done": Pick(basket, finished=True)}.items()
        ]
    )


async def shop(update: Update, context: Context) -> None:
    await update.message.reply_text("Basket:", reply_markup=shelf(()))


async def pick(update: Update, context: Context) -> None:
    query = update.callback_query
    await query.answer()
    chosen: Any = query.data
    text = "Basket: " + ", ".join(chosen.basket)
    if chosen.finished:
        await query.edit_message_text(text + ". Bye!")
        context.drop_callback_data(query)
    else:
        await query.edit_message_text(text, reply_markup=shelf(chosen.basket))


async def expired(update: Update, context: Context) -> None:
    await update.callback_query.answer("This button is too old.")


def build_shelf(builder: Any) -> Any:
    """Buttons that stand for objects."""
    application = builder.arbitrary_callback_data(True).build()
    application.add_handler(CommandHandler("shop", shop))
    application.add_handler(CallbackQueryHandler(expired, InvalidCallbackData))
    application.add_handler(CallbackQueryHandler(pick, Pick))
    return application
