"""LangChain's packages for Ollama, OpenAI and DeepSeek against a running tandem, as a user's program would call them.

`tests/clients/with_store` starts the server.
"""

import asyncio
import math
import os
from typing import Literal

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_deepseek import ChatDeepSeek
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

URL = os.environ["TANDEM_URL"]
MODEL = "deepseek-r1:32b"
QUESTION = "What is 3 + 4?"
ANSWER = "3 + 4 = 7."


class Sum(BaseModel):
    """What two numbers come to."""

    total: int = Field(ge=0, le=99)
    parity: Literal["odd", "even"]


def by_ollama(**options):
    return ChatOllama(base_url=URL, **{"model": MODEL, "temperature": 0, **options})


def by_openai(**options):
    options = {"model": MODEL, "temperature": 0, **options}
    return ChatOpenAI(base_url=f"{URL}/v1", api_key="unused", max_retries=0, **options)


def by_deepseek(**options):
    options = {"model": MODEL, "temperature": 0, **options}
    return ChatDeepSeek(api_base=f"{URL}/v1", api_key="unused", max_retries=0, **options)


def thought(message):
    return message.additional_kwargs.get("reasoning_content")


def joined(chunks):
    chunks = list(chunks)
    assert len(chunks) > 3, "the reply came in one piece"
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_ollama_has_the_thought_beside_the_answer_if_asked_for():
    model = by_ollama(reasoning=True)
    whole = model.invoke(QUESTION)
    assert whole.content == ANSWER and thought(whole).startswith("I add 3 and 4.")
    streamed = joined(model.stream(QUESTION))
    assert (streamed.content, thought(streamed)) == (ANSWER, thought(whole))
    assert whole.usage_metadata == streamed.usage_metadata and whole.usage_metadata["output_tokens"] > 3
    assert whole.response_metadata["done_reason"] == "stop"


def test_ollama_has_the_thought_in_the_text_if_nothing_is_said_and_none_if_forbidden():
    unset = by_ollama()
    whole = unset.invoke(QUESTION)
    assert thought(whole) is None
    assert whole.content.startswith("<think>\nI add") and whole.content.endswith(f"\n</think>\n\n{ANSWER}")
    assert joined(unset.stream(QUESTION)).content == whole.content
    silent = by_ollama(reasoning=False).invoke(QUESTION)
    assert silent.content and "think>" not in silent.content and not thought(silent)


def test_ollama_answers_many_at_once():
    questions = [f"What is {number} + 4?" for number in range(3, 9)]

    async def all_of_them():
        model = by_ollama(reasoning=True)
        return await asyncio.gather(*(model.ainvoke(question) for question in questions))

    answers = [message.content for message in asyncio.run(all_of_them())]
    assert answers == [f"{number} + 4 = {number + 4}." for number in range(3, 9)]


def test_ollama_completes_and_embeds():
    assert OllamaLLM(base_url=URL, model=MODEL, temperature=0, reasoning=True).invoke(QUESTION).endswith(ANSWER)
    vectors = OllamaEmbeddings(base_url=URL, model=MODEL).embed_documents(["1 + 1", "hello"])
    assert len(vectors) == 2 and all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in vectors)
    other = OpenAIEmbeddings(base_url=f"{URL}/v1", api_key="unused", model=MODEL, check_embedding_ctx_length=False)
    for one, two in zip(other.embed_documents(["1 + 1", "hello"]), vectors, strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_deepseek_has_the_thought_as_reasoning_content():
    whole = by_deepseek().invoke(QUESTION)
    assert whole.content == ANSWER and thought(whole).startswith("I add 3 and 4.")
    streamed = joined(by_deepseek(stream_usage=True).stream(QUESTION))
    assert (streamed.content, thought(streamed)) == (ANSWER, thought(whole))
    assert streamed.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"] > 3
    assert whole.usage_metadata["output_token_details"]["reasoning"] > 3


def test_openai_has_the_answer_alone():
    whole = by_openai().invoke(QUESTION)
    assert whole.content == ANSWER and thought(whole) is None
    assert whole.response_metadata["finish_reason"] == "stop"
    chunks = list(by_openai(stream_usage=True).stream(QUESTION))
    streamed = joined(chunks)
    assert streamed.content == ANSWER
    assert streamed.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"] > 3


def test_openai_has_the_thought_as_a_block_of_a_response():
    model = by_openai(use_responses_api=True, output_version="responses/v1")
    for reply in (model.invoke(QUESTION), joined(model.stream(QUESTION))):
        reasoning, text = (block for block in reply.content if block["type"] in ("reasoning", "text"))
        assert reasoning["summary"][0]["text"].startswith("I add 3 and 4.")
        assert text["text"] == ANSWER


@pytest.mark.parametrize("chat", [by_ollama, by_openai, by_deepseek])
def test_a_conversation_is_taken_back(chat):
    messages = [SystemMessage("You are kind."), HumanMessage("What is 12 + 34?"), AIMessage("12 + 34 = 46.")]
    reply = chat().invoke([*messages, HumanMessage("and plus 5?")])
    assert reply.content.endswith("46 + 5 = 51.")


@pytest.mark.parametrize(
    "model",
    [
        by_ollama(reasoning=True).with_structured_output(Sum),
        by_ollama(reasoning=False).with_structured_output(Sum, method="json_schema"),
        by_ollama().with_structured_output(Sum),
        by_openai().with_structured_output(Sum, method="json_schema"),
    ],
    ids=["ollama", "ollama silent", "ollama unset", "openai"],
)
def test_the_output_keeps_to_its_class(model):
    found = model.invoke(QUESTION)
    assert isinstance(found, Sum), found


@pytest.mark.parametrize("chat", [by_openai, by_deepseek])
def test_a_model_that_knows_no_tools_is_not_asked_to_call_one(chat):
    with pytest.raises(openai.BadRequestError, match="does not support tools"):
        chat().with_structured_output(Sum, method="function_calling").invoke(QUESTION)
