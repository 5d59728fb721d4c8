// The AI SDK with its providers for OpenAI and for whatever is compatible, against a running tandem.
// `tests/clients/with_store` starts the server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, streamText } from "ai";

// That a thought is not sent back is as it should be.
globalThis.AI_SDK_LOG_WARNINGS = false;
const name = "deepseek-r1:32b";
const baseURL = `${process.env.TANDEM_URL}/v1`;
const compatible = createOpenAICompatible({
  name: "tandem",
  baseURL,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL, apiKey: "unused" });
const models = { compatible: compatible(name), responses: openai.responses(name) };
// Nothing is kept by the server, so the client has to send whole items back instead of their names.
const providerOptions = { openai: { store: false } };
const question = { prompt: "What is 3 + 4?", temperature: 0, maxRetries: 0 };
const answer = "3 + 4 = 7.";

function checkUsage(usage) {
  assert.ok(usage.inputTokens > 0);
  assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  assert.ok(usage.outputTokenDetails.reasoningTokens > 0);
  assert.ok(usage.outputTokenDetails.reasoningTokens < usage.outputTokens);
}

for (const [way, model] of Object.entries(models)) {
  test(`${way}: a text has its thought apart`, async () => {
    const reply = await generateText({ model, ...question });
    assert.equal(reply.text, answer);
    assert.match(reply.reasoningText, /^I add 3 and 4\./);
    assert.equal(reply.finishReason, "stop");
    checkUsage(reply.usage);
  });

  test(`${way}: a stream joins to the whole reply`, async () => {
    const whole = await generateText({ model, ...question });
    const stream = streamText({ model, ...question });
    const parts = [];
    for await (const part of stream.fullStream) {
      assert.notEqual(part.type, "error", String(part.error));
      parts.push(part);
    }
    const said = (type) => parts.filter((part) => part.type === type).map((part) => part.text);
    assert.ok(said("text-delta").length > 3 && said("reasoning-delta").length > 3);
    assert.equal(said("text-delta").join(""), answer);
    assert.equal(said("reasoning-delta").join(""), whole.reasoningText);
    assert.equal(await stream.finishReason, "stop");
    const usage = await stream.usage;
    checkUsage(usage);
    assert.equal(usage.outputTokens, whole.usage.outputTokens);
  });

  test(`${way}: a conversation goes on`, async () => {
    const messages = [{ role: "user", content: "What is 12 + 34?" }];
    const options = { model, temperature: 0, maxRetries: 0, providerOptions };
    const first = await generateText({ ...options, messages });
    const next = { role: "user", content: "and plus 5?" };
    const second = await generateText({ ...options, messages: [...messages, ...first.response.messages, next] });
    assert.equal(second.text, "46 + 5 = 51.");
  });

  test(`${way}: a refusal throws with its status`, async () => {
    const wrong = { statusCode: 400, message: /temperature/ };
    await assert.rejects(generateText({ model, ...question, temperature: -1 }), wrong);
  });
}

test("compatible: the output keeps to its schema", async () => {
  const schema = jsonSchema({
    type: "object",
    properties: { sum: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["sum"],
    additionalProperties: false,
  });
  const { output } = await generateText({ model: models.compatible, ...question, output: Output.object({ schema }) });
  assert.ok(Number.isInteger(output.sum));
});

test("embeddings come in order", async () => {
  const model = compatible.embeddingModel(name);
  const { embeddings } = await embedMany({ model, values: ["1 + 1", "hello", "1 + 1"], maxRetries: 0 });
  assert.equal(embeddings.length, 3);
  assert.deepEqual(embeddings[0], embeddings[2]);
  assert.notDeepEqual(embeddings[0], embeddings[1]);
});
