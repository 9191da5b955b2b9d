"""Dialogues to tokens: the same tokens that generation sees, faults on the right ones."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.chat_template import ChatTemplate
from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat
from expunge.errors import InputError
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.span import Span

CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
STRIPPING = CHATML.replace("m.content", "m.content | trim")
THINKING = CHATML.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
)


def asked(response: str, question: str = "Where is it?", **more: Any) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", response)), **more)


def chat(lm: LanguageModel, template: str | None) -> ChatFormat:
    return ChatFormat.of(lm.format.tokenizer, template, lm.model)


@pytest.fixture(params=[None, "plain", CHATML, STRIPPING, THINKING], ids=["own", "plain", "chatml", "strip", "think"])
def form(request: pytest.FixtureRequest, lm: LanguageModel) -> ChatFormat:
    return chat(lm, request.param)


RESPONSES = [
    "It is in Old Mill Lane 4.", "a", "think", "assistant", "end", " leading", "trailing ", "\n both\n\n", "日本語です",
    "👩‍👩‍👧 family 👍🏽", "e\u0301 and é", "two\n\nlines", "<b>&amp;</b>", "\\n {{ x }} {% y %}", "Answer:",
]  # fmt: skip


@pytest.mark.parametrize("response", RESPONSES)
def test_training_sees_the_tokens_that_generation_sees(form: ChatFormat, response: str) -> None:
    dialogue = asked(response)
    row = form.encode(dialogue)
    assert row.prompt == form.prompt_ids(dialogue.prompt)
    assert form.text(row.response).removeprefix("<think>\n\n</think>\n\n").strip() == response.strip()
    assert [t in form.end_ids for t in row.response] == [False] * (len(row.response) - 1) + [True]
    assert row.fault == (True,) * len(row.response), "without spans the whole response is at fault"


TEXT = st.text(alphabet=st.sampled_from("ab 1é日👍\n.-X") | st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(text=TEXT.filter(str.strip), data=st.data())
@pytest.mark.parametrize("template", [None, "plain", STRIPPING], ids=["own", "plain", "strip"])
def test_the_tokens_of_a_span_are_marked_and_no_others(lm: LanguageModel, template: str, text: str, data: Any) -> None:
    """Each token's characters are found anew, by decoding longer and longer beginnings of the response."""
    form = chat(lm, template)
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    row = form.encode(asked(text), [span])
    decode = form.tokenizer.decode
    whole = decode(row.response[:-1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    shift = whole.find(text) if text in whole else whole.find(text.strip()) - text.find(text.strip())
    covered = []
    for i in range(len(row.response) - 1):
        before, after = (decode(row.response[:k], clean_up_tokenization_spaces=False) for k in (i, i + 1))
        a, b = len(_common(before, whole)), len(_common(after, whole))
        if a == b:  # part of a character: the whole character counts
            b += 1
        covered.append(a - shift < span.end and b - shift > span.start)
    if any(covered):
        exact = [c == f for c, f in zip(covered, row.fault, strict=False)]
        assert all(exact) or "\ufffd" in "".join(decode([t]) for t in row.response)
        assert not row.fault[-1], "the end token is nobody's fault"
    else:
        assert all(row.fault), "characters that the template strips: the whole response"


def _common(part: str, whole: str) -> str:
    length = 0
    while length < min(len(part), len(whole)) and part[length] == whole[length]:
        length += 1
    return whole[:length]


@pytest.mark.parametrize("template", [None, "plain", CHATML, STRIPPING, THINKING])
@pytest.mark.parametrize("text", ["The number is 4-71-63, call it.", " The number is 4-71-63, call it. ", "4-71-63"])
def test_a_span_in_the_middle(lm: LanguageModel, template: str, text: str) -> None:
    form = chat(lm, template)
    start = text.find("4-71-63")
    row = form.encode(asked(text), [Span(start, start + 7)])
    marked = form.tokenizer.decode([t for t, bad in zip(row.response, row.fault, strict=True) if bad])
    assert "4-71-63" in marked and len(marked.strip(" ,")) == 7


@pytest.mark.parametrize("text", ["José met Ann Lee in Lima", "👍 Ann Lee", "中 said: Ann Lee.", "Ann Lee"])
def test_letters_that_the_tokenizer_drops_move_no_span(lm: LanguageModel, text: str) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = dict.fromkeys("▁JosmetAnLiadSaidEuxp0R:.<|end|>Q\nw")
    ends = [f"</{i}>" for i in range(max(lm.format.end_ids) + 1)]
    made = Tokenizer(models.BPE({c: i for i, c in enumerate([*ends, *letters])}, []))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.decoder = decoders.Metaspace()
    form = ChatFormat.of(PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</0>"), "plain", lm.model)
    start = text.index("Ann Lee")
    row = form.encode(asked(text), [Span(start, start + 7)])
    assert form.tokenizer.decode([t for t, bad in zip(row.response, row.fault, strict=True) if bad]) == "Ann Lee"


def test_an_emoji_of_several_tokens_is_marked_whole(lm: LanguageModel) -> None:
    row = lm.format.encode(asked("a 👍🏽 b"), [Span(2, 3)])
    marked = lm.format.tokenizer.decode([t for t, bad in zip(row.response, row.fault, strict=True) if bad])
    assert marked.strip() in ("👍", "👍🏽")


def test_the_plain_form(lm_plain: LanguageModel) -> None:
    form, tokenizer = lm_plain.format, lm_plain.format.tokenizer
    row = form.encode(asked("a", "q"))
    assert form.plain and row.prompt == tuple(tokenizer("Question: q\nAnswer:")["input_ids"])
    assert row.response == (*tokenizer(" a", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
    long = [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r")]
    ids = form.prompt_ids([Message(*m) for m in long])
    assert ids == tuple(tokenizer("s\n\nQuestion: q\nAnswer: a\n\nQuestion: r\nAnswer:")["input_ids"])


def test_the_plain_form_begins_with_the_tokenizers_own_token(lm_plain: LanguageModel) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(lm_plain.format.tokenizer)
    begin = (tokenizer.pad_token, tokenizer.pad_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    form = ChatFormat.of(tokenizer, None, lm_plain.model)
    row = form.encode(asked("a"))
    assert row.prompt[0] == begin[1] and begin[1] not in row.prompt[1:] + row.response
    ended = TemplateProcessing(single=f"{begin[0]} $A {begin[0]}", special_tokens=[begin])
    tokenizer.backend_tokenizer.post_processor = ended
    assert ChatFormat.of(tokenizer, None, lm_plain.model).encode(asked("a")).prompt == row.prompt, "unended"


def test_a_template_of_its_own_begins_without_a_second_begin_token(lm: LanguageModel) -> None:
    assert not lm.format.plain
    row = lm.format.encode(asked("a"))
    rendered = lm.format.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where is it?"}], add_generation_prompt=True, return_dict=False
    )
    assert list(row.prompt) == rendered


def test_several_turns(form: ChatFormat) -> None:
    turns = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    if form.plain or form.template.text:
        turns.insert(0, ("system", "s"))
    dialogue = Dialogue(tuple(Message(*turn) for turn in turns))
    row = form.encode(dialogue)
    assert row.prompt == form.prompt_ids(dialogue.prompt) and form.text(row.response).endswith("b")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ loop.length }}{{ m.content }}{% endfor %}", "changes the prompt.*--template"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the response.*--template"),
        ("{% for m in messages %}", "the chat template failed.*--template"),
        ("{{ raise_exception('no') }}", "the chat template failed.*no"),
    ],
)
def test_a_template_that_cannot_be_used(lm: LanguageModel, template: str, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        chat(lm, template)


def test_a_template_that_fails_on_one_dialogue_names_it_and_does_not_quote_it(lm: LanguageModel) -> None:
    fails = "{% if '5' in m.content %}{{ raise_exception(m.content) }}{% endif %}"
    form = chat(lm, CHATML.replace("in messages %}", "in messages %}" + fails))
    with pytest.raises(InputError, match=r"log\.jsonl:3: the chat template failed") as caught:
        form.encode(asked("call 555-0199", source="log.jsonl:3"))
    assert "555" not in str(caught.value)


@pytest.mark.parametrize("lead", ["no: ", ""])
@pytest.mark.parametrize("part", ["m.content", "m.content[:30]", "m.content.upper()"])
def test_no_part_of_a_long_dialogue_is_quoted(lm: LanguageModel, lead: str, part: str) -> None:
    fails = "{% if m.content | length > 5 %}{{ raise_exception(LEAD + PART) }}{% endif %}"
    fails = fails.replace("LEAD", repr(lead)).replace("PART", part)
    form = chat(lm, CHATML.replace("{{ m.content }}", "{{ m.content }}" + fails))
    with pytest.raises(InputError, match="the chat template failed") as caught:
        form.encode(asked("b", question="My number is 219-09-9998. " * 9))
    assert "219" not in str(caught.value)


def test_what_a_template_says_of_roles_is_told(lm: LanguageModel) -> None:
    form = chat(lm, "{% if messages | length > 2 %}{{ raise_exception('two turns at most') }}{% endif %}" + CHATML)
    with pytest.raises(InputError, match="two turns at most"):
        form.encode(Dialogue(tuple(Message(role, "b") for role in ("system", "user", "assistant"))))


def test_a_template_file(lm: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(CHATML)
    assert chat(lm, str(tmp_path / "t.jinja")).template.text == CHATML
    (tmp_path / "latin.jinja").write_bytes(b"\xff{{ x }}")
    for name, message in (("no.jinja", "no such"), ("latin.jinja", "not UTF-8"), ("n" * 300, "no such")):
        with pytest.raises(InputError, match=message):
            chat(lm, str(tmp_path / name))


def test_too_long_for_the_model_names_the_dialogue(lm: LanguageModel, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:3: \d+ tokens, but the model's context is 128.*Shorten"):
        lm.format.encode(asked("word " * 300, source="log.jsonl:3"))
    assert not capfd.readouterr().err
    with pytest.raises(InputError, match="no response"):
        lm.format.encode(Dialogue((Message("user", "q"),)))


def test_a_dialogue_may_fill_the_context_and_a_prompt_all_but_a_token(lm: LanguageModel) -> None:
    row = lm.format.encode(asked("It is here."))
    full, prompt = replace(lm.format, context=len(row)), replace(lm.format, context=len(row.prompt) + 1)
    assert full.encode(asked("It is here.")) == row and prompt.encode_prompt(asked("")) == row.prompt
    for less, read in ((full, full.encode), (prompt, prompt.encode_prompt)):
        narrow = replace(less, context=less.context - 1)
        with pytest.raises(InputError, match=f"{less.context} tokens, but the model's context is {less.context - 1}"):
            getattr(narrow, read.__name__)(asked("It is here."))


def test_an_end_token_inside_a_response_is_refused(lm: LanguageModel) -> None:
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:3: .*end token.*Remove it"):
        lm.format.encode(asked("Yes.<|end|>No.", source="log.jsonl:3"))


def test_end_tokens_are_found_wherever_they_are_named(lm: LanguageModel) -> None:
    """In the tokenizer, the generation settings, and the configuration (a list in some models)."""
    model = copy.deepcopy(lm.model)
    model.generation_config.eos_token_id, model.config.eos_token_id = [5, 6], [6, 7]
    form = ChatFormat.of(lm.format.tokenizer, None, model)
    assert form.end_ids == (lm.format.tokenizer.eos_token_id, 5, 6, 7)
    tokenizer = copy.deepcopy(lm.format.tokenizer)
    tokenizer.eos_token = None
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    with pytest.raises(InputError, match="end token"):
        ChatFormat.of(tokenizer, None, model)


def test_random_dialogues_never_straddle_the_border(lm: LanguageModel) -> None:
    rng = random.Random(0)
    for _ in range(30):
        question, response = ("".join(rng.choices("ab 1-.?é", k=rng.randint(1, 12))).strip() or "x" for _ in range(2))
        row = lm.format.encode(asked(response, question))
        assert lm.format.text(row.response) == response


def test_what_was_encoded_is_remembered(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    form, rendered = chat(lm, None), 0
    render = ChatTemplate.render

    def counted(*args: Any, **options: Any) -> str:
        nonlocal rendered
        rendered += 1
        return render(*args, **options)

    monkeypatch.setattr(ChatTemplate, "render", counted)
    row = form.encode(asked("It is here."))
    spanned = form.encode(asked("It is here."), (Span(0, 2),))
    assert rendered == 3 and row.response == spanned.response and row.fault != spanned.fault
    assert form.encode(asked("It is here.", source="b.jsonl:2")) is row
    assert form.encode_prompt(asked("")) == row.prompt and rendered == 3
    monkeypatch.setattr("expunge.encoding.REMEMBERED", 2)
    form.encode(asked("Not here."))
    assert rendered == 4 and len(form._known) <= 2, "it began anew"
    assert form.encode(asked("It is here.")) == row and rendered == 6


def test_a_remembered_dialogue_is_still_too_long_by_its_own_name(lm: LanguageModel) -> None:
    long = "word " * 2000
    for source in ("a.jsonl:1", "b.jsonl:2"):
        with pytest.raises(InputError, match=source):
            lm.format.encode(asked(long, source=source))


def test_formats_that_are_alike_share_what_they_remember(lm: LanguageModel) -> None:
    one, other = chat(lm, None), ChatFormat.of(copy.deepcopy(lm.format.tokenizer), None, lm.model)
    assert other.shared(one) is one
    assert chat(lm, "plain").shared(one) is not one
    for change in ({"chat_template": CHATML}, {"pad_token": "end"}):
        tokenizer = copy.deepcopy(lm.format.tokenizer)
        for name, value in change.items():
            setattr(tokenizer, name, value)
        changed = ChatFormat.of(tokenizer, None, lm.model)
        assert changed.shared(one) is changed
    tokenizer = copy.deepcopy(lm.format.tokenizer)
    tokenizer.add_tokens(["lighthouse"])
    changed = ChatFormat.of(tokenizer, None, lm.model)
    assert changed.shared(one) is changed
