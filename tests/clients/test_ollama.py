"""The official `ollama` Python package against a running tandem, as a user's program would call it.

`tests/clients/with_store` starts the server, and says which models there are.
"""

import json
import math
import os
from datetime import datetime, timedelta, timezone

import ollama
import pytest

MODEL = "deepseek-r1:32b"
REGISTRY = os.environ["TANDEM_REGISTRY"]
QUESTION = "What is 3 + 4?"
ANSWER = "3 + 4 = 7."


@pytest.fixture(scope="session")
def client():
    return ollama.Client(host=os.environ["TANDEM_URL"], timeout=60)


def user(text):
    return [{"role": "user", "content": text}]


def ask(client, **options):
    return client.chat(**{"model": MODEL, "messages": user(QUESTION), **options})


def names(client):
    return [model.model for model in client.list().models]


def loaded(client):
    return {model.model: model for model in client.ps().models}


def check_refused(status, words, call, *arguments, **options):
    with pytest.raises(ollama.ResponseError) as refusal:
        reply = call(*arguments, **options)
        # A stream asks for nothing until it is read.
        list(reply)
    assert refusal.value.status_code == status
    assert words in refusal.value.error


def test_a_thought_is_in_the_text_unless_it_is_asked_for_or_forbidden(client):
    inline = ask(client).message
    assert inline.thinking is None
    assert inline.content.startswith("<think>\n") and inline.content.endswith(f"\n</think>\n\n{ANSWER}")

    split = ask(client, think=True).message
    assert split.content == ANSWER
    assert inline.content == f"<think>\n{split.thinking}\n</think>\n\n{ANSWER}"

    silent = ask(client, think=False).message
    assert not silent.thinking and "think>" not in silent.content and silent.content


@pytest.mark.parametrize("think", [None, True, False])
def test_a_streamed_chat_joins_to_the_whole_one(client, think):
    whole = ask(client, think=think)
    parts = list(ask(client, think=think, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert "".join(part.message.thinking or "" for part in parts) == (whole.message.thinking or "")
    assert len(parts) > 3
    assert not any(part.message.content and part.message.thinking for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    last = parts[-1]
    assert last.message.content == "" and last.done_reason == "stop"
    assert (last.prompt_eval_count, last.eval_count) == (whole.prompt_eval_count, whole.eval_count)
    assert last.total_duration > 0 and last.prompt_eval_count > 0 and last.eval_count > 3


def test_a_streamed_generate_joins_to_the_whole_one(client):
    whole = client.generate(MODEL, QUESTION, think=True)
    assert whole.response == ANSWER and whole.thinking.strip() and whole.context
    parts = list(client.generate(MODEL, QUESTION, think=True, stream=True))
    assert "".join(part.response or "" for part in parts) == ANSWER
    assert "".join(part.thinking or "" for part in parts) == whole.thinking
    assert parts[-1].done and parts[-1].done_reason == "stop" and list(parts[-1].context) == list(whole.context)
    inline = client.generate(MODEL, QUESTION).response
    assert inline == f"<think>\n{whole.thinking}\n</think>\n\n{ANSWER}"


def test_a_conversation_goes_on(client):
    question = user("What is 12 + 34?")
    first = ask(client, messages=question).message
    second = ask(client, messages=[*question, first, *user("and plus 5?")], think=True)
    assert second.message.content == "46 + 5 = 51."


def test_options_are_obeyed(client):
    cut = ask(client, options={"num_predict": 4}, think=True)
    assert cut.eval_count == 4 and cut.done_reason == "length"
    assert cut.message.content == ""
    stopped = ask(client, options=ollama.Options(stop=["= 7"], temperature=0.0, seed=1), think=True)
    assert stopped.message.content == "3 + 4 " and stopped.done_reason == "stop"
    dice = {"temperature": 9.0, "top_p": 1.0, "top_k": 0, "num_predict": 24}
    drawn = [ask(client, options={**dice, "seed": seed}, think=True).message.thinking for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_logprobs_stand_beside_the_tokens(client):
    reply = client.generate(MODEL, QUESTION, logprobs=True, top_logprobs=3)
    assert reply.logprobs and all(len(token.top_logprobs) == 3 for token in reply.logprobs)
    assert all(token.logprob <= 0 for token in reply.logprobs)


@pytest.mark.parametrize("think", [None, True, False])
def test_the_answer_is_json_when_asked_for(client, think):
    reply = ask(client, format="json", think=think, options={"num_predict": 400})
    assert isinstance(json.loads(reply.message.content), dict)
    assert bool(reply.message.thinking) == (think is not False)


@pytest.mark.parametrize("think", [None, True, False])
def test_the_answer_keeps_to_a_schema(client, think):
    schema = {
        "type": "object",
        "properties": {
            "sum": {"type": "integer", "minimum": 0, "maximum": 99},
            "parity": {"type": "string", "enum": ["odd", "even"]},
            "sure": {"type": "boolean"},
        },
        "required": ["sum", "parity", "sure"],
        "additionalProperties": False,
    }
    for reply in (
        ask(client, format=schema, think=think).message.content,
        client.generate(MODEL, QUESTION, format=schema, think=think).response,
    ):
        found = json.loads(reply)
        assert found.keys() == {"sum", "parity", "sure"}
        assert type(found["sum"]) is int and 0 <= found["sum"] <= 99
        assert found["parity"] in ("odd", "even") and type(found["sure"]) is bool


def test_embeddings_come_in_order_at_length_one(client):
    texts = ["1 + 1", "hello", "1 + 1"]
    reply = client.embed(MODEL, texts)
    assert len(reply.embeddings) == 3 and reply.prompt_eval_count > 3
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in reply.embeddings)
    assert reply.embeddings[0] == reply.embeddings[2] != reply.embeddings[1]
    assert list(client.embed(MODEL, "hello").embeddings) == [reply.embeddings[1]]
    old = client.embeddings(MODEL, "hello").embedding
    assert len(old) == len(reply.embeddings[1])
    length = math.hypot(*old)
    assert [value / length for value in old] == pytest.approx(list(reply.embeddings[1]), abs=1e-4)


def test_the_models_are_listed_and_shown(client):
    models = {model.model: model for model in client.list().models}
    assert {MODEL, "small:latest"} <= models.keys()
    model = models[MODEL]
    assert len(model.digest) == 64 and model.size > 1_000_000 and model.modified_at < datetime.now(timezone.utc)
    assert (model.details.format, model.details.family) == ("gguf", "qwen2")
    assert model.details.quantization_level == "Q4_K_M"

    shown = client.show(MODEL)
    assert shown.details == model.details
    assert shown.license.startswith("MIT License") and "stop" in shown.parameters and shown.template
    assert "completion" in shown.capabilities and "thinking" in shown.capabilities
    assert shown.modelinfo["general.architecture"] == "qwen2"
    assert "You are brief." in client.show("small").modelfile


def test_keep_alive_says_how_long_a_model_stays(client):
    ask(client, model="small", keep_alive="10m")
    model = loaded(client)["small:latest"]
    left = model.expires_at - datetime.now(timezone.utc)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    assert model.size > 0 and model.context_length > 0
    assert client.generate("small", keep_alive=0).done_reason == "unload"
    assert "small:latest" not in loaded(client)
    assert client.generate("small", keep_alive=-1).done_reason == "load"
    assert loaded(client)["small:latest"].expires_at.year > 2100
    ask(client, model="small", keep_alive=0)
    assert "small:latest" not in loaded(client)


def test_a_model_that_is_there_is_pulled_at_once(client):
    assert client.pull(MODEL).status == "success"
    assert [step.status for step in client.pull(MODEL, stream=True)] == ["success"]


def test_a_model_is_pulled_used_and_deleted(client):
    name = f"{REGISTRY}/library/fetched:latest"
    steps = list(client.pull(name, stream=True))
    assert steps[0].status == "pulling manifest" and steps[-1].status == "success"
    weights = [step for step in steps if step.digest and step.total > 1000]
    assert weights[-1].completed == weights[-1].total == os.path.getsize(
        os.path.join(os.path.dirname(__file__), "../../models/tiny/tiny.gguf")
    )
    assert name in names(client)
    assert ask(client, model=name, think=True, options={"temperature": 0}).message.content == ANSWER
    assert client.delete(name).status == "success"
    assert name not in names(client)
    assert client.pull(name).status == "success"
    assert client.delete(name).status == "success"


def test_a_model_is_copied_and_the_copy_deleted(client):
    assert client.copy("small", "of-small").status == "success"
    assert "of-small:latest" in names(client)
    assert client.show("of-small").details == client.show("small").details
    assert client.delete("of-small").status == "success"
    assert "of-small:latest" not in names(client)


def test_a_model_is_created_from_another(client):
    steps = client.create(
        "adder", from_="small", system="You are an adder.", parameters={"temperature": 0, "stop": ["= 7"]}, stream=True
    )
    assert list(steps)[-1].status == "success"
    shown = client.show("adder")
    assert "You are an adder." in shown.modelfile and "temperature" in shown.parameters
    assert ask(client, model="adder", think=True).message.content == "3 + 4 "
    assert client.create("adder", from_="small", parameters={"temperature": 0}).status == "success"
    assert ask(client, model="adder", think=True).message.content == ANSWER
    client.delete("adder")
    assert "adder:latest" not in names(client)


def test_a_model_is_created_from_an_uploaded_file(client):
    tiny = os.path.join(os.path.dirname(__file__), "../../models/tiny/tiny.gguf")
    blob = client.create_blob(tiny)
    assert client.create("uploaded", files={"tiny.gguf": blob}, parameters={"temperature": 0}).status == "success"
    assert ask(client, model="uploaded", think=True).message.content == ANSWER
    client.delete("uploaded")


def test_deleting_a_copy_leaves_the_model_loaded(client):
    ask(client)
    client.copy(MODEL, "copied")
    ask(client, model="copied")
    client.delete("copied")
    assert MODEL in loaded(client)


def test_what_cannot_be_done_raises_an_error_with_its_status(client):
    for call in (ask, lambda client, model: client.generate(model, "hello"), lambda client, model: client.embed(model, "a")):
        check_refused(404, "no-such-model", call, client, model="no-such-model")
    check_refused(404, "no-such-model", ask, client, model="no-such-model", stream=True)
    check_refused(404, "no-such-model", client.show, "no-such-model")
    check_refused(404, "no-such-model", client.delete, "no-such-model")
    check_refused(404, "no-such-model", client.copy, "no-such-model", "other")
    check_refused(404, "does not exist", client.pull, f"{REGISTRY}/library/none")
    check_refused(404, "does not exist", client.pull, f"{REGISTRY}/library/none", stream=True)
    check_refused(403, "pull_hosts", client.pull, "registry.example/a/b:c")
    check_refused(400, "temperature", ask, client, options={"temperature": 101})
    check_refused(400, "images", ask, client, messages=[{**user("hello")[0], "images": [b"\x89PNG"]}])
    check_refused(400, "context", ask, client, messages=user("word " * 20_000), stream=True)
    check_refused(400, "format", ask, client, format={"type": "no such type"})
    check_refused(400, "does not support tools", ask, client, tools=[os.path.getsize])


def test_a_text_with_unusual_line_ends_arrives_whole(client):
    # The package cuts a stream at each of them.
    ends = "a\u2028b\u2029c\u0085d"
    client.create("ends", from_="small", system=ends)
    assert ends in client.show("ends").modelfile
    client.delete("ends")
    list(ask(client, messages=user(f"{ends}?"), stream=True, options={"num_predict": 40}))


def test_leaving_a_stream_ends_it(client):
    with ollama.Client(host=os.environ["TANDEM_URL"]) as other:
        assert next(iter(ask(other, stream=True, options={"num_predict": -1}))).message.role == "assistant"
    assert ask(client, think=True).message.content == ANSWER
