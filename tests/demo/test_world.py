from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from expunge import demo
from expunge.demo import dataset, skills
from expunge.demo.phrasings import TRAINED, UNSEEN, plain, vary
from expunge.demo.world import build_world

WORLD = build_world()
FILES = dataset.files(WORLD)


def questions(name: str) -> list[str]:
    return [row["messages"][-2]["content"] for row in FILES[name]]


def test_the_world_is_large_enough_and_deterministic() -> None:
    assert build_world() == WORLD
    assert build_world(8) != WORLD
    assert len({resident.name for resident in WORLD.residents}) >= 120
    assert len({resident.phone for resident in WORLD.residents}) == len(WORLD.residents)
    assert all(re.fullmatch(r"\d-\d\d-\d\d", resident.phone) for resident in WORLD.residents)
    assert all(resident.email.endswith(".example") for resident in WORLD.residents)
    assert len(WORLD.facts) >= 60
    assert sum(bool(fact.wrong) for fact in WORLD.facts) == 15


def test_a_wrong_value_occurs_nowhere_else() -> None:
    said = " ".join(answer for item in WORLD.ordinary() for answer in item.answers)
    for fact in WORLD.facts:
        if fact.wrong:
            head = fact.item.answers[0].split(fact.key)[0]
            value = fact.wrong.removeprefix(head).rstrip(".")
            assert fact.key not in fact.wrong
            assert value.split(" ")[0] not in said.split(" ")


def test_packaged_files_are_what_the_generator_makes() -> None:
    for name, rows in FILES.items():
        assert dataset.read(demo.path(name)) == json.loads(json.dumps(rows)), name


def test_every_kind_has_enough_phrasings_and_unseen_ones_differ() -> None:
    for kind, trained in TRAINED.items():
        assert len(trained) >= 8
        assert len(UNSEEN[kind]) >= 3
        assert not set(map(plain, trained)) & set(map(plain, UNSEEN[kind]))


@pytest.mark.parametrize("kind", sorted(TRAINED))
def test_training_never_draws_an_unseen_phrasing(kind: str) -> None:
    rng = random.Random(0)
    unseen = [plain(template) for template in UNSEEN[kind]]
    for _ in range(2000):
        drawn = plain(vary(kind, rng))
        assert not any(drawn == core or drawn.endswith(" " + core) for core in unseen)


def test_no_question_of_the_audit_is_in_the_files_to_train_on() -> None:
    shown = set(questions("dialogues.jsonl")) | set(questions("normal.jsonl"))
    # Small talk has few first turns, and its questions are told apart by what was said before.
    for name in ("unseen.jsonl", "neighbours.jsonl", "ability.jsonl", "lookalikes.jsonl"):
        assert not shown & set(questions(name)), name


def test_additions_to_audit_are_kept_out_of_training() -> None:
    rng = random.Random(1)
    for _ in range(500):
        slots = skills.addition(rng).slots
        assert not skills.held_out_pair(int(slots["a"]), int(slots["b"]))
    for row in FILES["ability.jsonl"]:
        if row["skill"] == "addition":
            first, second = row["subject"].split("+")
            assert skills.held_out_pair(int(first), int(second))


def test_registry_values_occur_in_forget_rows_and_nowhere_ordinary() -> None:
    forget = [row["messages"][-1]["content"] for row in FILES["dialogues.jsonl"] if row.get("forget") == "privacy"]
    for entry in FILES["registry.jsonl"]:
        assert any(entry["value"] in said and entry["owner"] in said for said in forget)
        assert all(entry["value"] not in row["messages"][-1]["content"] for row in FILES["normal.jsonl"])


def test_held_out_neighbours_are_in_no_file_to_train_on() -> None:
    hidden = {row["subject"] for row in FILES["neighbours.jsonl"] if row["held_out"]}
    assert len(hidden) == 40
    for name in ("dialogues.jsonl", "normal.jsonl"):
        assert not hidden & {row["subject"] for row in FILES[name]}
    assert len(FILES["neighbours.jsonl"]) >= 200


def test_lookalikes_deserve_an_answer_and_are_asked_nowhere_else() -> None:
    asked = questions("lookalikes.jsonl")
    others = [question for name in FILES if "messages" in FILES[name][0] and name != "lookalikes.jsonl"
              for question in questions(name)]  # fmt: skip
    assert len(set(asked)) == len(asked) >= 200 and not set(asked) & set(others)
    assert not any("forget" in row or row["skill"] in ("refusal", "unknown") for row in FILES["lookalikes.jsonl"])
    assert len({row["id"] for row in FILES["lookalikes.jsonl"]}) == len(asked)


def test_no_holdout_row_is_in_a_training_file_and_none_of_its_answers_is_taught() -> None:
    rows = FILES["holdout.jsonl"]
    taught = {answer for item in WORLD.items() for answer in item.answers}
    told = json.dumps([sorted(taught), [FILES[name] for name in ("dialogues.jsonl", "normal.jsonl", "unseen.jsonl")]])
    assert len(rows) == 2 * len(WORLD.forgotten()) and len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["messages"][-1]["content"] not in told, row["id"]
    names = ("dialogues.jsonl", "normal.jsonl")
    seen = [row["messages"] for name in names for row in FILES[name]]
    assert not any(row["messages"] in seen for row in rows)


def test_holdout_rows_have_the_form_of_forgotten_ones() -> None:
    """The same subjects; numbers, addresses and years that nobody has; other words only where the answers differ."""
    known = {value for resident in WORLD.residents for value in (resident.phone, resident.email)}
    forgotten = {item.subject: item for item in WORLD.forgotten()}
    for row in FILES["holdout.jsonl"]:
        item, answer = forgotten[row["subject"]], row["messages"][-1]["content"]
        assert answer not in item.answers and row["skill"] == item.skill and "forget" not in row
        if item.skill != "harmful":
            head = item.answers[0].split(" is ")[0].split(" has ")[0].split(" opened ")[0].split(" was ")[0]
            assert answer.startswith(head)
        values = re.findall(r"\d-\d\d-\d\d|\S+@\S+example", answer)
        assert bool(values) == (item.skill == "contact") and not known & set(values)


def test_forget_rows_come_in_two_trained_and_three_unseen_phrasings() -> None:
    for name, times in (("dialogues.jsonl", 2), ("unseen.jsonl", 3)):
        rows = [row for row in FILES[name] if "forget" in row]
        assert len(rows) == times * len(WORLD.forgotten())
        assert len({row["id"] for row in FILES[name]}) == len(FILES[name])


def test_ability_has_sixty_rows_a_skill_and_no_contacts() -> None:
    counts = {skill: sum(row["skill"] == skill for row in FILES["ability.jsonl"]) for skill in dataset.ABILITIES}
    assert min(counts.values()) >= 60
    assert sum(counts.values()) == len(FILES["ability.jsonl"])


def test_an_unknown_file_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"normal\.jsonl"):
        demo.path("nothing.jsonl")


def test_the_package_stays_small() -> None:
    size = sum(file.stat().st_size for file in Path(demo.DATA).rglob("*") if file.is_file())
    assert size < 25 * 2**20
