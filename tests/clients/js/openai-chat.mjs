// Conversations by OpenAI's official JavaScript client, unchanged. Arguments: base URL, key, model.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [host, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${host}/v1`, apiKey, maxRetries: 0 });
const SCHEMA = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
const TITLE = {
  type: "object", properties: { title: { type: "string" }, n: { type: "integer" } },
  required: ["title", "n"], additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "ls", parameters: SCHEMA } }];
const asked = (content, fields) => ({
  model, messages: [{ role: "user", content }], reasoning_effort: "none", ...fields,
});
const CALLS = 'CALL ls {"path": "a"}\nCALL ls {"path": "b"}';

const plain = await client.chat.completions.create(asked("a b"));
assert.deepEqual([plain.choices[0].message.content, plain.choices[0].finish_reason], ["a b", "stop"]);
assert.deepEqual([plain.usage.prompt_tokens, plain.usage.completion_tokens], [2, 2]);
assert.ok(plain._request_id);

const chunks = [];
const streamed = asked("a b c", { stream: true, stream_options: { include_usage: true } });
for await (const chunk of await client.chat.completions.create(streamed)) chunks.push(chunk);
assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "a b c");
assert.equal(chunks.at(-1).usage.completion_tokens, 3);
const helped = client.chat.completions.stream(asked(CALLS, { tools }));
assert.equal((await helped.finalChatCompletion()).choices[0].message.tool_calls.length, 2);

const first = (await client.chat.completions.create(asked(CALLS, { tools }))).choices[0];
assert.equal(first.finish_reason, "tool_calls");
const results = first.message.tool_calls.toReversed().map(({ id, function: { arguments: text } }) => (
  { role: "tool", tool_call_id: id, content: `files of ${JSON.parse(text).path}` }
));
const messages = [{ role: "user", content: "go" }, first.message, ...results];
const second = (await client.chat.completions.create({ ...asked("", { tools }), messages })).choices[0];
assert.match(second.message.content, /ls: files of a ls: files of b$/);

const seen = [];
const run = ({ path }) => `files of ${seen.push(path) && path}`;
const runnable = { ...tools[0], function: { ...tools[0].function, function: run, parse: JSON.parse } };
const runner = client.chat.completions.runTools(asked(`${CALLS}\nTHEN\nSAY done`, { tools: [runnable] }));
assert.deepEqual([await runner.finalContent(), seen], ["done", ["a", "b"]]);

const response_format = { type: "json_schema", json_schema: { name: "title", strict: true, schema: TITLE } };
const shaped = await client.chat.completions.parse(asked("a", { response_format }));
assert.deepEqual(JSON.parse(shaped.choices[0].message.content), { title: "word", n: 1 });

const functions = [{ type: "function", name: "ls", parameters: SCHEMA, strict: false }];
const response = await client.responses.create({ model, input: CALLS, tools: functions });
const called = response.output.filter((item) => item.type === "function_call");
const outputs = called.map(({ call_id, arguments: text }) => (
  { type: "function_call_output", call_id, output: `files of ${JSON.parse(text).path}` }
));
const input = [{ role: "user", content: "go" }, ...response.output, ...outputs];
const answered = await client.responses.create({ model, input, tools: functions });
assert.match(answered.output_text, /ls: files of a ls: files of b$/);
const events = [];
for await (const event of await client.responses.create({ model, input: "a b", stream: true })) events.push(event);
const words = events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta);
assert.equal(words.join(""), "a b");
assert.equal(events.at(-1).type, "response.completed");
const text = { format: { type: "json_schema", name: "title", schema: TITLE } };
const parsed = await client.responses.parse({ model, input: "a", text });
assert.deepEqual(JSON.parse(parsed.output_text), { title: "word", n: 1 });

const stranger = new OpenAI({ baseURL: `${host}/v1`, apiKey: "wrong", maxRetries: 0 });
const failing = [
  [client, asked("a", { model: "nope" }), OpenAI.NotFoundError, "model_not_found", "model"],
  [client, asked("a", { temperature: 3 }), OpenAI.BadRequestError, "invalid_request", "temperature"],
  [client, asked("a", { logprobs: true }), OpenAI.BadRequestError, "invalid_request", "logprobs"],
  [stranger, asked("a"), OpenAI.AuthenticationError, "invalid_api_key", null],
];
for (const [asking, body, kind, code, param] of failing) {
  await assert.rejects(asking.chat.completions.create(body), (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name} for ${JSON.stringify(body)}`);
    assert.deepEqual([error.code, error.param], [code, param]);
    assert.ok(error.requestID);
    return true;
  });
}

console.log(JSON.stringify({ events: events.length }));
