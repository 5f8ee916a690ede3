// The official JavaScript client of OpenAI on sound, unchanged. Arguments: base URL, model, WAV file, its words.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const [host, model, path, text] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${host}/v1`, apiKey: "none", maxRetries: 0 });
const file = () => createReadStream(path);
const { transcriptions, translations } = client.audio;

assert.equal((await transcriptions.create({ model, file: file() })).text, text);
for (const format of ["text", "srt", "vtt"]) {
  const told = await transcriptions.create({ model, file: file(), response_format: format });
  assert.match(told, /s0 s1 s2/);
}
const verbose = await transcriptions.create({
  model,
  file: file(),
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
});
assert.equal(verbose.language, "english");
assert.deepEqual(verbose.words.map((word) => word.word), text.split(" "));
assert.ok(verbose.segments.length > 0);

const events = [];
for await (const event of await transcriptions.create({ model, file: file(), stream: true })) events.push(event);
const deltas = events.filter((event) => event.type === "transcript.text.delta");
assert.equal(deltas.map((event) => event.delta).join(""), text);
assert.equal(events.at(-1).type, "transcript.text.done");
assert.equal(events.at(-1).text, text);

assert.equal((await translations.create({ model, file: file() })).text, text.replaceAll("s", "t"));
await assert.rejects(transcriptions.create({ model: "nope", file: file() }), OpenAI.NotFoundError);
await assert.rejects(transcriptions.create({ model, file: file(), language: "xx" }), OpenAI.BadRequestError);

console.log(JSON.stringify({ deltas: deltas.length }));
