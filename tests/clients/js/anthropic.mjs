// The official JavaScript client of Anthropic, unchanged. Arguments: base URL, key, model.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

const [baseURL, key, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: key, maxRetries: 0 });
const SCHEMA = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
const TITLE = {
  type: "object", properties: { title: { type: "string" }, n: { type: "integer" } },
  required: ["title", "n"], additionalProperties: false,
};
const tools = [{ name: "ls", input_schema: SCHEMA }];
const asked = (content, fields) => ({ model, max_tokens: 2000, messages: [{ role: "user", content }], ...fields });
const CALLS = 'CALL ls {"path": "a"}\nCALL ls {"path": "b"}';

const plain = await client.messages.create(asked("a b", { system: "be brief" }));
assert.deepEqual(plain.content.map((block) => [block.type, block.text]), [["text", "be brief a b"]]);
assert.equal(plain.stop_reason, "end_turn");
assert.equal(plain.usage.input_tokens + plain.usage.cache_read_input_tokens, 4);
assert.ok(plain._request_id);
const bearer = new Anthropic({ baseURL, apiKey: null, authToken: key, maxRetries: 0 });
const { input_tokens } = await bearer.messages.countTokens({ model, messages: [{ role: "user", content: "a b" }] });
assert.equal(input_tokens, 2);

const texts = [];
const stream = client.messages.stream(asked("a b c", { thinking: { type: "enabled", budget_tokens: 1024 } }));
stream.on("text", (delta) => texts.push(delta));
const final = await stream.finalMessage();
assert.equal(texts.join(""), "a b c");
assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
const kinds = [];
for await (const event of await client.messages.create(asked("a", { stream: true }))) kinds.push(event.type);
assert.deepEqual([kinds[0], kinds.at(-1)], ["message_start", "message_stop"]);

const first = await client.messages.create(asked(CALLS, { tools }));
assert.equal(first.stop_reason, "tool_use");
const calls = first.content.filter((block) => block.type === "tool_use");
assert.deepEqual(calls.map((call) => call.input), [{ path: "a" }, { path: "b" }]);
const results = calls.toReversed().map((call) => (
  { type: "tool_result", tool_use_id: call.id, content: `files of ${call.input.path}` }
));
const messages = [
  { role: "user", content: "go" },
  { role: "assistant", content: first.content },
  { role: "user", content: results },
];
const second = await client.messages.create({ ...asked("", { tools }), messages });
assert.match(second.content[0].text, /ls: files of a ls: files of b$/);

const seen = [];
const run = ({ path }) => `files of ${seen.push(path) && path}`;
const ls = betaTool({ name: "ls", description: "lists files", inputSchema: SCHEMA, run });
const last = await client.beta.messages.toolRunner(asked(`${CALLS}\nTHEN\nSAY done`, { tools: [ls] }));
assert.deepEqual([last.content[0].text, seen], ["done", ["a", "b"]]);

const format = { type: "json_schema", schema: TITLE };
const shaped = await client.messages.create(asked("a", { output_config: { format } }));
assert.deepEqual(JSON.parse(shaped.content[0].text), { title: "word", n: 1 });

const listed = [];
for await (const each of client.models.list({ limit: 2 })) listed.push(each.id);
assert.ok(listed.includes(model));
assert.equal(new Set(listed).size, listed.length);
assert.equal((await client.models.retrieve(model)).id, model);

const stranger = new Anthropic({ baseURL, apiKey: "wrong", maxRetries: 0 });
const failing = [
  [client, asked("a", { model: "nope" }), Anthropic.NotFoundError, "not_found_error"],
  [client, asked("a", { temperature: 3 }), Anthropic.BadRequestError, "invalid_request_error"],
  [stranger, asked("a"), Anthropic.AuthenticationError, "authentication_error"],
];
for (const [asking, body, kind, type] of failing) {
  await assert.rejects(asking.messages.create(body), (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name} for ${JSON.stringify(body)}`);
    assert.equal(error.error.error.type, type);
    assert.equal(error.error.request_id, error.requestID);
    return true;
  });
}
const broken = client.messages.stream(asked("a FAIL", { model: "eyes" })).finalMessage();
await assert.rejects(broken, Anthropic.APIError);

console.log(JSON.stringify({ listed: listed.length }));
