"""Prompts that a server answers."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from expunge import cli
from expunge.dialogue import Dialogue, parse
from expunge.errors import InputError, UnansweredError
from expunge.message import Message
from expunge.scan.served import Served
from expunge.thought import apart
from served import Answer, Asked, Behaviour, completion, serving


def prompt(text: str) -> Dialogue:
    return Dialogue((Message("system", "Be brief."), Message("user", text)), id=text, source=f"in.jsonl:{text}")


def echo(asked: Asked, _: int) -> Answer:
    return completion(f" {asked.body['messages'][-1]['content']} {asked.body['seed']} ")


def refuse(status: int, message: str) -> Answer:
    return Answer({"error": {"message": message, "type": "x", "param": None, "code": None}}, status)


def test_a_greedy_answer_is_asked_for_as_messages_with_nothing_cut_off() -> None:
    with serving(lambda asked, _: completion(asked.body["messages"][-1]["content"].upper())) as server:
        found = Served(server.url, "m")([prompt("a"), prompt("b")], max_new_tokens=7, samples=0, seed=3)
    assert found == [["A"], ["B"]]
    sent = next(one.body for one in server.asked if one.text.endswith("a"))
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]
    assert (sent["model"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == ("m", 0.0, 1.0, 7)


def test_calls_of_tools_are_sent_as_they_were_logged() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    calls = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "content": "None.", "tool_call_id": "c1"}
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    row = {"messages": [{"role": "user", "content": "a"}, calls, result], "tools": tools}
    with serving(lambda *_: completion("No.")) as server:
        assert Served(server.url, "m")([parse(row)], max_new_tokens=7, samples=0, seed=3) == [["No."]]
    assert {name: server.asked[0].body[name] for name in row} == row


def test_samples_are_drawn_from_seeds_of_their_own_and_come_in_order() -> None:
    def ask(seed: int) -> list[list[str]]:
        with serving(echo) as server:
            found = Served(server.url, "m")([prompt("a"), prompt("b")], max_new_tokens=7, samples=3, seed=seed)
        assert all(one.body["temperature"] == 1.0 for one in server.asked)
        return found

    first = ask(0)
    assert [[text[0] for text in texts] for texts in first] == [["a"] * 3, ["b"] * 3]
    drawn = [text.split()[1] for found in (first, ask(1)) for texts in found for text in texts]
    assert len(set(drawn)) == 12
    assert first == ask(0)


def test_a_server_that_takes_no_seed_is_asked_without() -> None:
    def behave(asked: Asked, _: int) -> Answer:
        return refuse(400, "unknown field: seed") if "seed" in asked.body else completion("x")

    with serving(behave) as server:
        assert (
            Served(server.url, "m")([prompt("a"), prompt("b")], max_new_tokens=7, samples=2, seed=0) == [["x"] * 2] * 2
        )
    assert Counter("seed" in one.body for one in server.asked) == {True: 1, False: 5}


def several(asked: Asked, _: int) -> Answer:
    """As vLLM: each choice by the seed and its number."""
    return choices(*(f"{asked.text[-1]} {asked.body['seed'] + i}" for i in range(asked.body.get("n", 1))))


def choices(*texts: str) -> Answer:
    answer = completion("")
    (one,) = answer.body["choices"]
    answer.body["choices"] = [one | {"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
    return answer


def drawn(behaviour: Behaviour, samples: int = 4) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """What is found, and the requests for it: without the first, whose answers only tell what the server does."""
    with serving(behaviour) as server:
        prompts = [prompt(name) for name in "abc"]
        found = Served(server.url, "m", retries=0)(prompts, max_new_tokens=7, samples=samples, seed=0)
    return found, [one.body for one in server.asked][1:]


def test_samples_of_one_prompt_are_asked_for_by_one_request() -> None:
    found, sent = drawn(several)
    assert [body["n"] for body in sent] == [4] * 3
    assert [[text[0] for text in texts] for texts in found] == [[name] * 4 for name in "abc"]
    assert len({text for texts in found for text in texts}) == 12
    assert found == drawn(several)[0]


def test_no_more_are_asked_for_at_once_than_a_server_answers_together() -> None:
    found, sent = drawn(several, samples=100)
    assert Counter(body.get("n") for body in sent) == {64: 3, 36: 3}
    assert [len(set(texts)) for texts in found] == [100] * 3


def alike(asked: Asked, _: int) -> Answer:
    """As SGLang's deterministic inference: every choice by the one seed."""
    return choices(*[str(asked.body["seed"])] * asked.body.get("n", 1))


def no_n(status: int) -> Behaviour:
    return lambda asked, n: (
        refuse(status, "Only one completion choice is allowed") if "n" in asked.body else echo(asked, n)
    )


@pytest.mark.parametrize("behaviour", [echo, alike, no_n(400), no_n(422), no_n(500)])
def test_a_server_that_does_not_draw_several_gets_a_request_for_each(behaviour: Behaviour) -> None:
    """It ignores `n` (Ollama), draws all alike, or refuses it (llama.cpp)."""
    found, sent = drawn(behaviour)
    assert len(sent) == 12 and not any("n" in body for body in sent)
    assert len({body["seed"] for body in sent}) == 12
    assert len({text for texts in found for text in texts}) == 12


def test_answers_that_do_not_come_together_are_asked_for_alone() -> None:
    def behave(asked: Asked, number: int) -> Answer:
        count = asked.body.get("n", 1)
        if asked.text[-1] == "b" and count > 1:
            return refuse(500, "no room")
        if asked.text[-1] == "c" and count > 1:
            return choices("c 0", "c 1")
        return several(asked, number)

    found, sent = drawn(behave)
    assert [len(set(texts)) for texts in found] == [4] * 3 and found[2][:2] == ["c 0", "c 1"]
    assert Counter((body["messages"][-1]["content"], body.get("n")) for body in sent) == {
        ("a", 4): 1, ("b", 4): 1, ("b", None): 4, ("c", 4): 1, ("c", None): 2,
    }  # fmt: skip


def test_a_greedy_answer_is_never_drawn_instead() -> None:
    message = r"in.jsonl:a: .* takes no such prompt \(HTTP 400\)"
    with serving(lambda *_: refuse(400, "temperature must be 1")) as server, pytest.raises(InputError, match=message):
        Served(server.url, "m")([prompt("a")], max_new_tokens=7, samples=0, seed=0)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refuse(401, "no"), "refuses the key"),
        (refuse(404, "no"), "does not know the model 'm'"),
        (Answer("<html>"), "gave no answer to the request"),
    ],
)
def test_a_server_that_is_no_use_is_told_once(answer: Answer, told: str) -> None:
    with serving(lambda *_: answer) as server, pytest.raises(InputError, match=told):
        Served(server.url, "m")([prompt("a"), prompt("b")], max_new_tokens=7, samples=0, seed=0)
    assert len({one.text for one in server.asked}) == 1


def test_no_server_is_told() -> None:
    with pytest.raises(InputError, match="no connection"):
        Served("http://127.0.0.1:9/v1", "m", retries=0)([prompt("a")], max_new_tokens=7, samples=0, seed=0)


@pytest.mark.parametrize("answer", [Answer({}, 500), Answer("{"), Answer({"choices": []})])
def test_the_row_that_a_server_breaks_on_is_named(answer: Answer) -> None:
    def behave(asked: Asked, _: int) -> Answer:
        return answer if asked.text.endswith("b") else completion("x")

    with serving(behave) as server, pytest.raises(UnansweredError, match=r"^in\.jsonl:b: .* gave no answer"):
        Served(server.url, "m", retries=0)([prompt("a"), prompt("b")], max_new_tokens=7, samples=0, seed=0)


def test_a_server_that_cannot_be_trusted_to_be_itself_is_told_as_such() -> None:
    """Here it speaks no TLS; a certificate that nobody vouches for is the same. It was "start the server"."""
    with serving(lambda *_: completion("x")) as server:
        url = server.url.replace("http", "https")
        with pytest.raises(UnansweredError, match="^127.* gave no answer .*no secure connection.*\n.*SSL_CERT_FILE"):
            Served(url, "m", retries=0)([prompt("a")], max_new_tokens=7, samples=0, seed=0)


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str, str]:
    sys.argv = ["expunge", *map(str, words)]
    with pytest.raises(SystemExit) as caught:
        cli.main()
        sys.exit(0)
    told = capsys.readouterr()
    return int(caught.value.code or 0), told.out, told.err


def test_a_scan_by_a_server_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    source, out = tmp_path / "in.jsonl", tmp_path / "v.jsonl"
    source.write_text("".join(json.dumps({"prompt": f"Number {i}?"}) + "\n" for i in range(300)))
    (tmp_path / "values.jsonl").write_text('{"kind": "phone", "value": "+1 202-456-7890"}\n')
    broken = True

    def behave(asked: Asked, _: int) -> Answer:
        number = int(asked.text.split()[1].rstrip("?"))
        if broken and number == 290:
            return refuse(400, "too long")
        return completion("It is 202-456-7890." if number % 2 else "No.")

    with serving(behave) as server:
        words = (
            "scan",
            "org/model",
            source,
            "--server",
            server.url,
            "--judge",
            f"registry={tmp_path / 'values.jsonl'}",
        )
        code, _, err = run(capsys, *words, "--out", out)
        assert code == 2 and "in.jsonl:291" in err and "takes no such prompt" in err and not out.exists()
        code, _, err = run(capsys, *words, "--out", out, "--samples", 2)
        assert code == 2 and "an unfinished scan of other input, judges or settings: --samples was 0, is 2" in err
        code, _, err = run(capsys, "scan", "town", *words[2:3], *words[5:], "--out", out)
        assert code == 2 and "settings: model was " in err
        broken, asked = False, len(server.asked)
        code, told, _ = run(capsys, *words, "--out", out)
        assert code == 0 and "300 dialogues judged" in told
        assert len(server.asked) - asked == 44  # the second block alone
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["label"] for row in rows] == ["clean", "privacy"] * 150


def test_a_scan_of_samples_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"prompt": f"Number {i}?"}) + "\n" for i in range(260)))
    broken = True

    def behave(asked: Asked, number: int) -> Answer:
        return refuse(400, "too long") if broken and "258" in asked.text else several(asked, number)

    with serving(behave) as server:
        words = ("scan", "m", source, "--server", server.url, "--judge", "privacy", "--samples", 3, "--out")
        assert run(capsys, *words, tmp_path / "stopped.jsonl")[0] == 2
        broken, asked = False, len(server.asked)
        assert run(capsys, *words, tmp_path / "stopped.jsonl")[0] == 0
        assert len(server.asked) - asked == 1 + 4  # the second block alone
        assert run(capsys, *words, tmp_path / "whole.jsonl")[0] == 0
    assert (tmp_path / "stopped.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("option", ["--template", "--device"])
def test_what_only_a_loaded_model_has_is_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    words = ("scan", "m", "in.jsonl", "--judge", "privacy", "--server", "http://127.0.0.1:9/v1", option, "cpu")
    code, out, err = run(capsys, *words, "--out", tmp_path / "v.jsonl")
    assert (code, out) == (2, "") and f"{option} is for a model that is loaded here" in err


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", ""])
def test_what_a_server_tells_of_the_models_thought_is_kept(field: str) -> None:
    """vLLM and others tell it apart, by either name; without a parser it stands in the text."""

    def think(asked: Asked, _: int) -> Answer:
        answer = completion("Ann." if field else "hm, hm</think>\n\nAnn.")
        if field:
            answer.body["choices"][0]["message"][field] = "hm, hm\n"
        return answer

    with serving(think) as server:
        ((text,),) = Served(server.url, "m")([prompt("a")], max_new_tokens=7, samples=0, seed=0)
    assert apart(text) == ("hm, hm", "Ann.")


def test_a_model_cut_off_in_its_thought_is_asked_again_with_room_to_think() -> None:
    def think(asked: Asked, _: int) -> Answer:
        done = asked.body["max_tokens"] > 7
        answer = completion("Ann." if done else None)
        answer.body["choices"][0]["message"]["reasoning_content"] = "hm, hm" if done else "hm"
        return answer

    with serving(think) as server:
        served = Served(server.url, "m")
        assert served([prompt("a")], max_new_tokens=7, samples=0, seed=0, thinking=20) == [
            ["<think>\nhm, hm\n</think>\n\nAnn."]
        ]
        assert apart(served([prompt("a")], max_new_tokens=7, samples=0, seed=0)[0][0]) == ("hm", "")
    assert [one.body["max_tokens"] for one in server.asked] == [7, 27, 7]


def test_samples_one_of_which_was_cut_off_in_its_thought_are_drawn_again_together() -> None:
    """Were that one alone drawn again, short thoughts would be too many."""

    def think(asked: Asked, _: int) -> Answer:
        done, each = asked.body["max_tokens"] > 7, asked.body.get("n", 1)
        answer = completion("a0")
        choice = answer.body["choices"][0]
        answer.body["choices"] = [
            choice | {"index": i, "message": {"role": "assistant", "content": text, "reasoning_content": f"hm {i}"}}
            for i, text in enumerate(["a0", "a1" if done else None, "a2"][:each])
        ]
        return answer

    with serving(think) as server:
        ((first, second, third),) = Served(server.url, "m")(
            [prompt("a")], max_new_tokens=7, samples=3, seed=0, thinking=9
        )
    assert [apart(text) for text in (first, second, third)] == [(f"hm {i}", f"a{i}") for i in range(3)]
    assert [(one.body["max_tokens"], one.body["n"]) for one in server.asked] == [(7, 3), (7, 3), (16, 3)]
    seeds = [one.body["seed"] for one in server.asked]
    assert seeds[1] == seeds[2]
