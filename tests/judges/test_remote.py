"""The remote judge against a server that is down, slow, busy, wrong, or fine."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, RemoteJudge, load_judge
from expunge.judges.panel import Panel, judge_all
from expunge.judges.threshold import Threshold
from expunge.judges.usage import usage_of
from expunge.message import Message
from served import Answer, Asked, Server, completion, said, serving

KEY = "sk-secret-0123456789"
POLICY = "Never give a phone number."


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a hundredth, but for those that the server asks for."""
    import openai._base_client as client

    monkeypatch.setattr(client, "INITIAL_RETRY_DELAY", 0.005)
    monkeypatch.setattr(client, "MAX_RETRY_DELAY", 0.01)


def dialogues(count: int) -> list[Dialogue]:
    return [Dialogue((Message("user", f"Ask {i}?"), Message("assistant", f"Say 555-{i:04}."))) for i in range(count)]


def judge(server: Server | str, **settings: Any) -> RemoteJudge:
    url = server if isinstance(server, str) else server.url
    return RemoteJudge(url, **({"model": "m", "policy": POLICY, "timeout": 5.0, "retries": 1} | settings))


def number(asked: Asked) -> int:
    return int(asked.text.partition("Say 555-")[2][:4])


def test_it_asks_and_reads_the_answer() -> None:
    with serving(lambda asked, _: said("privacy", quotes=["555-0000"], category=POLICY)) as server:
        one = judge(server)
        (found,) = one.judge(dialogues(1))
    assert (found.label, found.score, found.version) == ("privacy", 0.9, one.version)
    assert found.spans[0].start == 4 and found.categories == (POLICY,)
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions" and asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "m" and asked.body["temperature"] == 0 and asked.body["max_tokens"] == 1024
    assert asked.body["response_format"]["json_schema"]["schema"]["required"]
    assert [m["role"] for m in asked.body["messages"]] == ["system", "user"]
    assert isinstance(one, Judge)


def test_order_is_kept_however_the_answers_come() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def behave(asked: Asked, _: int) -> Answer:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        i = number(asked)
        time.sleep(0.01 * (7 - i % 8))
        with lock:
            running -= 1
        return said("privacy" if i % 3 else "clean", quotes=[f"555-{i:04}"], score=i / 100)

    given = dialogues(40)
    with serving(behave) as server:
        found = judge(server, concurrency=4).judge(given)
    assert [v.label for v in found] == ["privacy" if i % 3 else "clean" for i in range(40)]
    assert [v.score for v in found] == [i / 100 for i in range(40)]
    assert len(server.asked) == 40 and 2 <= most <= 4


def test_a_busy_server_is_given_the_time_that_it_asks_for() -> None:
    times: list[float] = []

    def behave(_: Asked, count: int) -> Answer:
        times.append(time.monotonic())
        return said("clean") if count else Answer({}, 429, {"Retry-After": "1"})

    with serving(behave) as server:
        (found,) = judge(server).judge(dialogues(1))
    assert found.label == "clean"
    assert times[1] - times[0] >= 0.95


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_faults_are_tried_again(status: int) -> None:
    with serving(lambda _, count: said("clean") if count >= 3 else Answer({}, status)) as server:
        assert judge(server, retries=3).judge(dialogues(1))[0].label == "clean"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer({}, 500), "no answer (HTTP 500)"),
        (Answer({"error": {"message": "Say 555-0003. is too long"}}, 400), "no answer (HTTP 400)"),
        (Answer({}, 403), "no answer (HTTP 403)"),
        (Answer('{"choices": [{"message": ', cut=9), "no answer (connection broken off)"),
        (Answer('{"choices": [', 200), "no answer (no chat completion)"),
        (Answer("<html>hello</html>", headers={"Content-Type": "text/html"}), "no answer (no chat completion)"),
        (Answer({"choices": []}), "no answer (no chat completion)"),
        (Answer({"choices": [{"message": None}]}), "no answer (no chat completion)"),
        (Answer([1, 2]), "no answer (no chat completion)"),
        (Answer("null"), "no answer (no chat completion)"),
        (completion(None), "no verdict in the model's answer"),
        (completion(""), "no verdict in the model's answer"),
        (completion([{"type": "text"}]), "no verdict in the model's answer"),
        (completion("Sorry, 555-0003 is private."), "no verdict in the model's answer"),
    ],
)
def test_one_dialogue_without_an_answer_is_unknown_and_the_others_are_judged(answer: Answer, reason: str) -> None:
    with serving(lambda asked, _: answer if number(asked) == 3 else said("clean")) as server:
        found = judge(server).judge(dialogues(6))
    assert [v.label for v in found] == ["clean"] * 3 + ["unknown"] + ["clean"] * 2
    assert (found[3].score, found[3].reason) == (0.0, reason)


def test_a_slow_answer_is_unknown() -> None:
    def behave(asked: Asked, _: int) -> Answer:
        time.sleep(0.5 if number(asked) == 1 else 0)
        return said("clean")

    with serving(behave) as server:
        found = judge(server, timeout=0.15, retries=1).judge(dialogues(4))
    assert [v.reason for v in found if v.label == "unknown"] == ["no answer (timeout)"]
    assert len([a for a in server.asked if number(a) == 1]) == 2


def test_an_empty_response_is_not_sent() -> None:
    empty = Dialogue((Message("user", "Ask?"), Message("assistant", " ")))
    with serving(lambda *_: said("privacy")) as server:
        found = judge(server).judge([empty, *dialogues(1)])
        assert judge(server).judge([]) == []
    assert [v.label for v in found] == ["unknown", "privacy"]
    assert len(server.asked) == 1


Refusal = Callable[[Asked, int], Answer]


def refuses(*names: str, alternative: str = "") -> Refusal:
    """A server that takes no request with one of these options, and names it (or not)."""

    def behave(asked: Asked, _: int) -> Answer:
        found = next((name for name in names if name in asked.body), None)
        error = {"error": {"message": f"Unsupported parameter: {found}. {alternative}", "param": found}}
        return Answer(error, 400) if found else said("clean")

    return behave


@pytest.mark.parametrize(
    ("behave", "absent", "present"),
    [
        (refuses("response_format"), {"response_format"}, {"temperature", "max_tokens"}),
        (refuses("temperature"), {"temperature"}, {"response_format", "max_tokens"}),
        (
            refuses("max_tokens", "temperature", alternative="Use 'max_completion_tokens'."),
            {"max_tokens", "temperature"},
            {"response_format", "max_completion_tokens"},
        ),
    ],
)
def test_options_that_a_server_refuses_are_left_out_from_then_on(
    behave: Refusal, absent: set[str], present: set[str]
) -> None:
    with serving(behave) as server:
        found = judge(server).judge(dialogues(6))
    assert [v.label for v in found] == ["clean"] * 6
    assert len(server.asked) == 6 + len(absent)
    for asked in server.asked[-6:]:
        assert not absent & set(asked.body) and present <= set(asked.body)


def test_a_schema_that_is_refused_without_a_word_is_left_out() -> None:
    with serving(lambda a, _: Answer("no", 422) if "response_format" in a.body else said("clean")) as server:
        assert judge(server).judge(dialogues(2))[1].label == "clean"
        assert len(server.asked) == 3
        judge(server, json_schema=False).judge(dialogues(1))
        assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("answer", "message", "remedy", "most"),
    [
        (Answer({}, 401), "refuses the key (HTTP 401)", "OPENAI_API_KEY", 1),
        (Answer({}, 403), "refuses the key (HTTP 403)", "OPENAI_API_KEY", 1),
        (Answer({}, 404), "does not know the model 'm'", "Check `model`", 1),
        (Answer({}, 307, {"Location": "http://127.0.0.1:9/v1/chat/completions"}), "HTTP 307", "final URL", 1),
        (Answer({}, 402), "HTTP 402", "quota", 1),
        (Answer({}, 500), "(HTTP 500)", "server's own log", 22),
        (Answer({}, 429), "(HTTP 429)", "less `concurrency`", 22),
        (Answer({}, 400), "(HTTP 400)", "system = false", 22),
        (Answer("hello"), "(no chat completion)", "URL", 11),
        (Answer({}, 200, cut=1), "(connection broken off)", "server's own log", 22),
    ],
)
def test_a_server_that_answers_nothing_ends_the_work(answer: Answer, message: str, remedy: str, most: int) -> None:
    with serving(lambda *_: answer) as server, pytest.raises(InputError) as caught:
        judge(server, concurrency=4).judge(dialogues(30))
    assert message in caught.value.message and remedy in caught.value.remedy
    assert server.url.split("/")[2] in caught.value.message
    assert len(server.asked) <= most  # eight in a row, three more under way, each tried twice
    assert caught.value.__cause__ is None
    assert not any(text in str(caught.value) for text in (KEY, "555-", "Say", "Ask"))


def test_a_server_that_is_down_is_one_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"  # bound, and not listening
        with pytest.raises(InputError, match="gave no answer to the request .no connection") as caught:
            judge(url).judge(dialogues(30))
    assert "Start the server" in caught.value.remedy


def test_a_server_that_goes_down_ends_the_work_and_nothing_answered_is_lost(tmp_path: Path) -> None:
    down = threading.Event()

    def behave(_: Asked, count: int) -> Answer:
        return Answer({}, 503) if down.is_set() and count >= 10 else said("privacy")

    with serving(behave) as server:
        down.set()
        with pytest.raises(InputError, match="gave no answer to 8 requests in a row"):
            judge(server, cache=tmp_path / "a.jsonl", concurrency=2, retries=0).judge(dialogues(200))
        assert 18 <= len(server.asked) <= 20
        down.clear()
        before = len(server.asked)
        found = judge(server, cache=tmp_path / "a.jsonl").judge(dialogues(200))
        assert {v.label for v in found} == {"privacy"}
        assert len(server.asked) - before == 190


def test_answers_in_the_cache_are_not_asked_for_again(tmp_path: Path) -> None:
    with serving(lambda asked, _: said("privacy", score=number(asked) / 10)) as server:
        first = judge(server, cache=tmp_path / "a.jsonl").judge(dialogues(4))
        second = judge(server, cache=tmp_path / "a.jsonl")
        assert second.judge(dialogues(6))[:4] == first
        assert len(server.asked) == 6 and second.usage.answers == 2
        assert second.judge(dialogues(6))[:4] == first and len(server.asked) == 6
        judge(server, cache=tmp_path / "a.jsonl", policy="Another policy.").judge(dialogues(4))
        assert len(server.asked) == 10


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with serving(lambda a, count: Answer({}, 400) if count == 2 else said("clean")) as server:
        one = judge(server, cache=tmp_path / "a.jsonl", concurrency=1)
        assert [v.label for v in one.judge(dialogues(4))].count("unknown") == 1
        assert [v.label for v in one.judge(dialogues(4))] == ["clean"] * 4
        assert len(server.asked) == 5


def test_tokens_and_cost_are_counted() -> None:
    with serving(lambda *_: said("clean")) as server:
        one = judge(server, price_in=1000.0, price_out=2000.0)
        one.judge(dialogues(10))
        free = judge(server)
        free.judge(dialogues(2))
    used = one.usage
    assert (used.answers, used.failures, used.prompt_tokens, used.completion_tokens) == (10, 0, 100, 50)
    assert used.cost == pytest.approx(0.2)
    assert str(used) == "m: 10 answers, 0 failed, 100 tokens read, 50 written, cost 0.2000"
    assert free.usage.cost is None and "cost" not in str(free.usage)
    assert usage_of([Panel([Threshold(one, 0.5), free])]) == [one.usage, free.usage]


@pytest.mark.parametrize("usage", [None, 5, {}, {"prompt_tokens": None}, {"prompt_tokens": -4}, {"prompt_tokens": "x"}])
def test_a_server_that_does_not_count_tokens_is_no_fault(usage: Any) -> None:
    answer = said("clean")
    answer.body["usage"] = usage
    with serving(lambda *_: answer) as server:
        one = judge(server)
        assert one.judge(dialogues(1))[0].label == "clean"
    assert one.usage.prompt_tokens == 0


def test_the_version_follows_what_decides_a_verdict() -> None:
    one = judge("http://127.0.0.1:1/v1")
    same = judge("http://127.0.0.1:1/v1/chat/completions", concurrency=2, timeout=1.0, retries=0, price_in=3)
    assert one.version == same.version
    others = [{"model": "n"}, {"policy": "Other."}, {"max_tokens": 9}, {"json_schema": False}, {"system": False}]
    versions = {judge("http://127.0.0.1:1/v1", **other).version for other in others}
    assert len(versions | {one.version, judge("http://127.0.0.1:2/v1").version}) == 7


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"model": 5},
        {"policy": " "},
        {"policy": 5},
        {"key_env": KEY},
        {"key_env": "gsk_abc"},
        {"key_env": 5},
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"concurrency": True},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"retries": -1},
        {"max_tokens": "many"},
        {"json_schema": "no"},
        {"system": 1},
        {"price_in": -1.0},
    ],
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        judge("http://127.0.0.1:1/v1", **settings)
    assert KEY not in str(caught.value) and "gsk_abc" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "ftp://h/v1", "http://", "http://h:0/v1", "http://h:99999/", "http://u:hush@h/v1",
     "http://h/v1?key=hush", "http://h/v1#hush", "http://[::1/v1"],
)  # fmt: skip
def test_urls_that_cannot_be_used_are_refused_unquoted(url: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk-é", "sk-a\nb", "sk-\x00"])
def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr("os.environ", {"MY_KEY": value})
    with pytest.raises(InputError, match="the key in MY_KEY") as caught:
        judge("http://127.0.0.1:1/v1", key_env="MY_KEY")
    assert "sk-" not in str(caught.value)


def test_the_key_is_of_the_named_variable_and_a_server_without_keys_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "mine\n")
    with serving(lambda *_: said("clean")) as server:
        judge(server, key_env="MY_KEY").judge(dialogues(1))
        judge(server, key_env="UNSET_KEY").judge(dialogues(1))
    assert [a.headers["authorization"] for a in server.asked] == ["Bearer mine", "Bearer none"]


def test_neither_key_nor_dialogue_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("DEBUG")
    with serving(lambda _, count: Answer({}, 500) if count % 2 == 0 else said("clean")) as server:
        judge(server).judge(dialogues(3))
    assert KEY not in caplog.text and "555-" not in caplog.text and POLICY not in caplog.text


def test_equal_dialogues_are_asked_once() -> None:
    with serving(lambda *_: said("clean")) as server:
        judge_all([judge(server)], dialogues(2) * 3)
    assert len(server.asked) == 2


def test_without_leave_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judges.toml").write_text(
        '[[judge]]\nuse = "remote=http://u:hush@127.0.0.1:1/v1"\nmodel = "m"\npolicy = "Be kind."\n'
    )

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    for spec in ("remote=http://localhost:1/v1", "remote=http://[::1]:1/v1", str(tmp_path / "judges.toml")):
        with pytest.raises(InputError, match="sends dialogues to") as caught:
            load_judge(spec)
        assert "--allow-remote" in caught.value.remedy and "hush" not in str(caught.value)


def test_a_judge_file_names_model_and_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.judges.judge_file import judge_sources

    folder = tmp_path / "judges"
    folder.mkdir()
    (folder / "policy.md").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    with serving(lambda *_: said("privacy")) as server:
        text = f'[[judge]]\nuse = "remote={server.url}"\nmodel = "m"\npolicy = "policy.md"\ncache = "answers.jsonl"\n'
        (folder / "judges.toml").write_text(text)
        one = load_judge("judges/judges.toml", allow_remote=True)
        assert one.version == judge(server).version
        assert one.judge(dialogues(1))[0].label == "privacy"
    assert json.loads((folder / "answers.jsonl").read_text())["answer"]
    sources = judge_sources("judges/judges.toml")
    assert sources == ["judges/judges.toml", server.url, "judges/policy.md"]  # and not the cache, which grows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('model = "m"\n', "the option 'policy' is missing"),
        ('policy = "Be kind."\n', "the option 'model' is missing"),
        ('model = "m"\npolicy = "none.md"\n', "none.md: there is no such file"),
        ('model = "m"\npolicy = "x"\nconcurency = 3\n', "unknown option 'concurency'. Did you mean 'concurrency'"),
    ],
)
def test_faults_of_a_judge_file_are_messages(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "judges.toml").write_text(f'[[judge]]\nuse = "remote=http://127.0.0.1:1/v1"\n{rows}')
    with pytest.raises(InputError) as caught:
        load_judge(str(tmp_path / "judges.toml"), allow_remote=True)
    assert message in caught.value.message
    assert "judges.toml" in caught.value.message or "none.md" in message


def test_the_command_line_alone_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="the option 'model' is missing") as caught:
        load_judge("remote=http://127.0.0.1:1/v1", allow_remote=True)
    assert "judge file" in caught.value.remedy


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match="asking a server needs the package 'openai'") as caught:
        judge("http://127.0.0.1:1/v1")
    assert "expunge[remote]" in caught.value.remedy
