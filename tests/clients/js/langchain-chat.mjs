// LangChain's JavaScript conversations over Ollama's API, unchanged. Arguments: base URL, key, model.
import assert from "node:assert/strict";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOllama } from "@langchain/ollama";

const [baseUrl, key, model] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}` };
const chat = (fields) => new ChatOllama({ model, baseUrl, headers, think: false, maxRetries: 0, ...fields });
const SCHEMA = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
const TITLE = {
  type: "object", properties: { title: { type: "string" }, n: { type: "integer" } }, required: ["title", "n"],
};
const ls = tool(({ path }) => `files of ${path}`, { name: "ls", description: "lists files", schema: SCHEMA });

assert.equal((await chat({ checkOrPullModel: true }).invoke("a b")).content, "a b");
const chunks = [];
for await (const chunk of await chat().stream("a b c")) chunks.push(chunk.content);
assert.equal(chunks.join(""), "a b c");

const bound = chat().bindTools([ls]);
const first = await bound.invoke('CALL ls {"path": "a"}\nCALL ls {"path": "b"}');
assert.deepEqual(first.tool_calls.map((call) => call.args), [{ path: "a" }, { path: "b" }]);
const results = await Promise.all(first.tool_calls.map((call) => ls.invoke(call)));
assert.ok(results.every((result) => result instanceof ToolMessage));
const second = await bound.invoke([new HumanMessage("go"), first, ...results]);
assert.match(second.content, /ls: files of a ls: files of b$/);

const shaped = await chat().withStructuredOutput(TITLE, { method: "jsonSchema" }).invoke("a");
assert.deepEqual(shaped, { title: "word", n: 1 });

await assert.rejects(chat({ model: "nope" }).invoke("a"), /not found/);
await assert.rejects(chat({ temperature: 9 }).invoke("a"), /temperature/);
await assert.rejects(chat({ headers: { Authorization: "Bearer wrong" } }).invoke("a"), /invalid API key/);

console.log(JSON.stringify({ chunks: chunks.length }));
