"""The official `openai` Python package against a running tandem, as a user's program would call it.

`tests/clients/run` starts the server and gives its address in TANDEM_URL.
"""

import math
import os
import time
import urllib.request

import openai
import pytest

URL = os.environ["TANDEM_URL"]
ADD_PROGRAM = "你是一个python编程专家，请帮我写一个计算加法的程序"


@pytest.fixture(scope="session")
def client():
    return openai.OpenAI(base_url=f"{URL}/v1", api_key="unused", max_retries=0, timeout=60)


def user(text):
    return [{"role": "user", "content": text}]


def ask(client, text, **options):
    options = {"model": "default", "temperature": 0, **options}
    return client.chat.completions.create(messages=user(text), **options)


def check_add_program(reply):
    program = reply.split("```python", 1)[1].split("```", 1)[0]
    assert "def " in program and "return a + b" in program, reply


def running():
    """How many requests the server says that its engines are working on."""
    page = urllib.request.urlopen(f"{URL}/metrics", timeout=5).read().decode()
    lines = [line for line in page.splitlines() if line.startswith("vllm:num_requests_running")]
    assert len(lines) == 1, lines
    return float(lines[0].rsplit(" ", 1)[1])


def wait_until(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not within 30 s: {what}"
        time.sleep(0.02)


def long_stream(client, **options):
    """A stream that goes on until the context is full, so that it is surely running when the test looks."""
    context = client.models.list().data[0].model_extra["max_model_len"]
    return client.completions.create(
        model="default",
        prompt="1 + 1",
        max_tokens=context - 16,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
        **options,
    )


def test_the_model_list_names_the_configured_model(client):
    models = client.models.list().data
    assert len(models) >= 1
    assert models[0].object == "model" and models[0].id and models[0].created > 0
    assert client.models.retrieve(models[0].id).id == models[0].id


def test_a_chat_gives_a_thought_and_a_working_program(client):
    reply = ask(client, ADD_PROGRAM, model="deepseek-r1:32b")
    choice = reply.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.message.reasoning_content.strip()
    assert "<think>" not in choice.message.content and "</think>" not in choice.message.content
    check_add_program(choice.message.content)


def test_a_stream_joins_to_the_whole_reply(client):
    whole = ask(client, ADD_PROGRAM)
    chunks = list(ask(client, ADD_PROGRAM, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thoughts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    answers = [delta.content or "" for delta in deltas]
    assert deltas[0].role == "assistant"
    assert "".join(thoughts) == whole.choices[0].message.reasoning_content
    assert "".join(answers) == whole.choices[0].message.content
    assert sum(map(bool, thoughts)) > 3 and sum(map(bool, answers)) > 3, "the reply came in one piece"
    assert not any(thought and answer for thought, answer in zip(thoughts, answers))
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1


def test_usage_is_counted_and_streamed_only_when_asked(client):
    usage = ask(client, "What is 3 + 4?").usage
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens

    asked = list(ask(client, "What is 3 + 4?", stream=True, stream_options={"include_usage": True}))
    assert asked[-1].choices == []
    assert asked[-1].usage.completion_tokens == usage.completion_tokens
    assert all(chunk.usage is None for chunk in asked[:-1])
    assert all(chunk.usage is None for chunk in ask(client, "What is 3 + 4?", stream=True))


def test_logprobs_stand_beside_every_token(client):
    reply = ask(client, "What is 3 + 4?", logprobs=True, top_logprobs=5)
    content = reply.choices[0].logprobs.content
    assert len(content) > 3
    for token in content:
        assert len(token.top_logprobs) == 5
        assert token.logprob <= 0 and token.logprob == pytest.approx(token.top_logprobs[0].logprob)
        ordered = [top.logprob for top in token.top_logprobs]
        assert ordered == sorted(ordered, reverse=True)
        assert sum(math.exp(logprob) for logprob in ordered) <= 1.001


def test_completions_take_token_ids(client):
    reply = client.completions.create(model="default", prompt=[40, 41, 42], max_tokens=4, extra_body={"ignore_eos": True})
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.prompt_tokens == 3 and reply.usage.completion_tokens == 4


def test_embeddings_come_in_order_at_length_one(client):
    # The package asks for base64 unless told otherwise, and decodes it.
    texts = ["1 + 1", "hello"]
    reply = client.embeddings.create(model="default", input=texts)
    plain = client.embeddings.create(model="default", input=texts, encoding_format="float")
    vectors = [item.embedding for item in reply.data]
    # Of the same 32 bits, one as they are, one by their shortest decimal.
    for vector, item in zip(vectors, plain.data, strict=True):
        assert vector == pytest.approx(item.embedding, rel=1e-6, abs=1e-9)
    assert [item.index for item in reply.data] == [0, 1]
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-5) for vector in vectors)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens > 0


def test_a_response_is_the_same_whole_and_streamed(client):
    request = {"model": "default", "input": ADD_PROGRAM, "temperature": 0}
    whole = client.responses.create(**request)
    assert whole.status == "completed"
    check_add_program(whole.output_text)
    thought, message = whole.output
    assert thought.type == "reasoning" and thought.summary[0].text.strip()
    assert message.type == "message" and message.role == "assistant"
    assert 0 < whole.usage.output_tokens_details.reasoning_tokens < whole.usage.output_tokens

    # The client puts the events together itself, and complains of any that does not fit.
    with client.responses.stream(**request) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.output[0].summary[0].text == thought.summary[0].text
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert len(deltas) > 3 and "".join(deltas) == thought.summary[0].text
    assert [event.sequence_number for event in events[:3]] == [0, 1, 2]


def test_a_conversation_goes_on_with_the_items_of_its_response(client):
    first = client.responses.create(model="default", instructions="Be kind.", input="hello", temperature=0)
    again = [{"role": "user", "content": "hello"}, *first.output, {"role": "user", "content": "hello"}]
    second = client.responses.create(model="default", instructions="Be kind.", input=again, temperature=0)
    assert second.output_text and second.usage.input_tokens > first.usage.input_tokens
    cut = client.responses.create(model="default", input="hello", max_output_tokens=16, reasoning={"effort": "none"})
    assert cut.status in ("completed", "incomplete") and cut.output[0].type == "message"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.responses.create(model="default", input="hello", previous_response_id=first.id)
    assert refusal.value.param == "previous_response_id"


def test_bad_parameters_raise_bad_request_with_a_message(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        ask(client, "hello", temperature=-1)
    assert refusal.value.type == "invalid_request_error"
    assert refusal.value.param == "temperature"
    assert "temperature" in str(refusal.value)


def test_an_unknown_model_raises_not_found_with_its_code(client):
    with pytest.raises(openai.NotFoundError) as refusal:
        ask(client, "hello", model="no-such-model")
    assert refusal.value.code == "model_not_found"
    assert "no-such-model" in str(refusal.value)


def test_too_long_a_prompt_raises_context_length_exceeded(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        ask(client, "word " * 20_000)
    assert refusal.value.code == "context_length_exceeded"


def test_closing_a_stream_ends_the_work_for_it(client):
    stream = long_stream(client)
    next(iter(stream))
    wait_until(lambda: running() >= 1, "the request runs")
    stream.close()
    wait_until(lambda: running() == 0, "the cancelled request leaves its engine")


def test_a_timeout_is_raised_and_ends_the_work(client):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).completions.create(
            model="default",
            prompt="1 + 1",
            max_tokens=client.models.list().data[0].model_extra["max_model_len"] - 16,
            temperature=0,
            n=4,
            extra_body={"ignore_eos": True},
        )
    wait_until(lambda: running() == 0, "the request that timed out leaves its engine")
