"""What the application has said about a command, and what may be done of it now.

Between a question and the commit the data go on changing. So a command is tried in its
transaction, as often as it needs: there its questions are made anew, and only if each of
them has been answered is it carried out. Otherwise nothing happens, and what is new is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from trio_realtime.server.rules.checks import conv_of
from trio_realtime.server.rules.json import json_text
from trio_realtime.server.rules.types import Caller, Clients, Outcome, Push, Refusal, Rule
from trio_realtime.server.store.interface import Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchItem,
)

from .before import Question, questions_before
from .types import Amend, Body, Hooks, Rewrite

M = TypeVar("M")

MOST_ROUNDS = 3
"""How often the application is asked again because more receivers have come."""


@attrs.frozen
class Answered:
    """What the application said to one question.

    None for no objection; a `Refusal` stands whoever would get it.
    """

    question: Question
    said: object

    def covers(self, question: Question) -> bool:
        """Whether it holds for the question as it would be asked now.

        All but the receivers is determined by the command, and cannot change.
        """
        return _receivers(question) <= _receivers(self.question)

    @property
    def receivers(self) -> frozenset[str]:
        """Who of the others may get it: nobody about whom the application was not asked."""
        allowed = _receivers(self.question)
        if isinstance(self.said, Rewrite) and self.said.receivers is not None:
            allowed &= frozenset(self.said.receivers)
        return allowed


@attrs.frozen
class Approval:
    """The answers to all that was asked about one command so far, by its parts."""

    answers: Mapping[int, Answered] = attrs.field(factory=dict)
    rounds: int = 0

    def refusal(self, questions: Sequence[Question]) -> Refusal | None:
        """What the application has said against what would be asked now."""
        for question in questions:
            answer = self.answers.get(question.part)
            if answer is not None and isinstance(answer.said, Refusal):
                return answer.said
        return None

    def unanswered(self, questions: Sequence[Question]) -> list[Question]:
        """Those that are to be asked, for the first time or again.

        In a conversation that somebody joins all the time there would be no end of it: at
        last a message goes to those about whom the application was asked.
        """
        return [
            question
            for question in questions
            if (answer := self.answers.get(question.part)) is None
            or (self.rounds < MOST_ROUNDS and not answer.covers(question))
        ]

    def extended(self, answers: Sequence[Answered]) -> Approval:
        """With the answers of one more round."""
        new = {answer.question.part: answer for answer in answers}
        return Approval({**self.answers, **new}, self.rounds + 1)

    def changed(self, command: GenericCommand) -> GenericCommand:
        """The command as the application wants it; the given one stays as it is."""
        for part, answer in self.answers.items():
            if isinstance(answer.said, Rewrite) and answer.said.body is not None:
                command = _rewritten(command, part, answer.said.body)
            elif isinstance(answer.said, Amend):
                command = _amended(command, answer.said)
        return command

    def narrowed(self, decided: Outcome, command: GenericCommand, actor: str) -> Outcome:
        """What the rule decided, for the receivers the application left over.

        The actor's own other sessions are always told.
        """
        if command.cmd not in {CommandType.DIRECT, CommandType.PATCH} or not self.answers:
            return decided
        kept = {
            message: receivers | {actor}
            for message, receivers in self._receivers_by_message().items()
        }
        return attrs.evolve(decided, pushes=[_narrowed(push, kept) for push in decided.pushes])

    def _receivers_by_message(self) -> dict[str | None, frozenset[str]]:
        kept: dict[str | None, frozenset[str]] = {}
        for answer in self.answers.values():
            message = getattr(answer.question.about, "message_id", None)
            # One message may be edited twice in a command.
            kept[message] = answer.receivers & kept.get(message, answer.receivers)
        return kept


def decide(
    hooks: Hooks,
    tx: Tx,
    caller: Caller,
    command: GenericCommand,
    rule: Rule,
    approval: Approval,
) -> Outcome | Sequence[Question]:
    """Carry a command out as far as it is approved, or say what is still to be asked.

    Raises `Refusal`, as the rule does.
    """
    try:
        questions = questions_before(hooks, tx, caller, command)
    except Refusal:
        # The rule has the better word for it. Nothing passes unasked because it has none.
        rule(tx, caller, command)
        raise
    refusal = approval.refusal(questions)
    if refusal is not None:
        raise refusal
    unanswered = approval.unanswered(questions)
    if unanswered:
        return unanswered
    changed = approval.changed(command)
    return approval.narrowed(rule(tx, caller, changed), changed, caller.client_id)


def _receivers(question: Question) -> frozenset[str]:
    return frozenset(getattr(question.about, "receivers", ()))


def _narrowed(push: Push, kept: Mapping[str | None, frozenset[str]]) -> Push:
    patch = push.command.patch_message
    message = patch.patches[0].mid if patch is not None else None
    receivers = kept.get(message)
    if receivers is None or not isinstance(push.to, Clients):
        return push
    return attrs.evolve(push, to=Clients([name for name in push.to.ids if name in receivers]))


def _rewritten(command: GenericCommand, part: int, body: Body) -> GenericCommand:
    text, binary = (None, body) if isinstance(body, bytes) else (body, None)
    if command.direct_message is not None:
        direct = _copied(command.direct_message, msg=text, binary_msg=binary)
        return _copied(command, direct_message=direct)
    assert command.patch_message is not None
    items: list[PatchItem] = list(command.patch_message.patches)
    items[part] = _copied(items[part], data=text, binary_msg=binary)
    return _copied(command, patch_message=_copied(command.patch_message, patches=items))


def _amended(command: GenericCommand, amend: Amend) -> GenericCommand:
    """Only the kind of change that was asked for can be amended."""
    if command.op == OpType.UPDATE:
        if amend.attributes is None:
            return command
        attr = JsonObjectMessage(data=json_text(dict(amend.attributes)))
        return _copied(command, conv_message=_copied(conv_of(command), attr=attr))
    if amend.mute is None:
        return command
    return _copied(command, op=OpType.MUTE if amend.mute else OpType.UNMUTE)


def _copied(message: M, **fields: object) -> M:
    message = copy.copy(message)
    for name, value in fields.items():
        setattr(message, name, value)
    return message
