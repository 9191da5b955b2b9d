"""The policy judge: any local causal model that reads a policy in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import files_digest, on_hub
from expunge.judges.policy import RULES, check_switches, policy_chat, policy_verdict, read_policy
from expunge.judges.verdict import Verdict
from expunge.message import Message

if TYPE_CHECKING:
    from expunge.model import LanguageModel


class PolicyJudge:
    """Flags responses that a causal model, given a policy, finds to break it.

    model: hub name or folder. policy: its text, or a file (.md, .txt). max_new_tokens: room for the answer, the model's
    reasoning included. system: whether the policy is a system message; set it to false for models without that role.
    A dialogue too long for the model is `unknown`, and so is an answer that holds no verdict.

    Raises:
        InputError: no such model or policy file, a chat template without the system role, or a policy too long.
    """

    name = "policy"

    def __init__(
        self,
        model: str | Path,
        *,
        policy: str | Path,
        max_new_tokens: int = 1024,
        system: bool = True,
        template: str | None = None,
        device: str | None = None,
    ) -> None:
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}", remedy="1024 is the default.")
        check_switches(system=system)
        from expunge.model import load_model

        self.policy, self.max_new_tokens, self.system = read_policy(policy), max_new_tokens, system
        self._lm = load_model(model, template=template, device=device)
        self._check_policy()
        parts = (_identity(self._lm), self.policy, RULES, repr((max_new_tokens, system)), template or "")
        self.version = digest("policy 2", *parts)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        from expunge.generation import greedy

        asked = [Dialogue(policy_chat(self.policy, d, system=self.system), source=d.place) for d in dialogues]
        fitting = [i for i, d in enumerate(dialogues) if (d.response or "").strip() and self._fits(asked[i])]
        answers = greedy(self._lm, [asked[i] for i in fitting], max_new_tokens=self.max_new_tokens)
        found = {
            i: policy_verdict(answer, dialogues[i], self.policy, judge=self.name, version=self.version)
            for i, answer in zip(fitting, answers, strict=True)
        }
        return [found.get(i) or self._unread(d) for i, d in enumerate(dialogues)]

    def _unread(self, dialogue: Dialogue) -> Verdict:
        empty = not (dialogue.response or "").strip()
        reason = "an empty response" if empty else "too long for this model"
        return Verdict("unknown", 0.0, self.name, self.version, reason)

    def _fits(self, asked: Dialogue) -> bool:
        prompt = self._lm.format.prompt_ids(asked.messages, place=asked.place)
        return len(prompt) + self.max_new_tokens <= self._lm.context

    def _check_policy(self) -> None:
        shortest = Dialogue((Message("user", "a"), Message("assistant", "b")))
        asked = Dialogue(policy_chat(self.policy, shortest, system=self.system))
        try:
            fits = self._fits(asked)
        except InputError as error:
            remedy = "For a model without the system role set system = false."
            raise InputError(f"{self._lm.name}: {error.message}", remedy=remedy) from None
        if not fits:
            raise InputError(
                f"policy and answer do not fit into the {self._lm.context} tokens of {self._lm.name!r}",
                remedy="Shorten the policy, lower max_new_tokens, or use a model with a longer context.",
            )


def _identity(lm: LanguageModel) -> str:
    """What tells this model from all others: its files, or the hub's commit."""
    from expunge.model import resolve

    folder = Path(resolve(lm.name))
    if not folder.is_dir():
        return on_hub(lm.name, lm.model.config)
    return files_digest(folder, ("*.json", "*.jinja", "*.safetensors"))
