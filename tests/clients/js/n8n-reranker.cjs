// The logic of n8n's reranker node, unchanged, under a stub of its host. Arguments: base URL, model.
const assert = require("node:assert/strict");
const Module = require("node:module");

class NodeApiError extends Error {
  constructor(node, error, options) {
    super(options.message, { cause: error });
    this.description = options.description;
  }
}
const load = Module._load;
Module._load = (name, ...rest) => (name === "n8n-workflow" ? { NodeApiError } : load(name, ...rest));
const { checkServerStatus, detectServerType, rerankDocuments } = require(
  "n8n-nodes-ollama-reranker/dist/nodes/shared/reranker-logic.js",
);

async function httpRequest({ method, url, headers, body, timeout }) {
  const answer = await fetch(url, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(timeout) });
  const text = await answer.text();
  if (!answer.ok) {
    throw Object.assign(new Error(`status ${answer.status}`), { response: { statusCode: answer.status, body: text } });
  }
  return JSON.parse(text);
}

(async () => {
  const [ollamaHost, model] = process.argv.slice(2);
  const context = { helpers: { httpRequest }, getNode: () => ({}) };
  const texts = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."];
  const config = {
    ollamaHost, model, query: "How do cats sleep?", documents: texts.map((pageContent) => ({ pageContent })),
    instruction: "Given a web search query, retrieve relevant passages", topK: 2, threshold: 0, batchSize: 2,
    timeout: 30000, includeOriginalScores: true,
  };
  console.warn = () => {}; // it tells when a server has no classifier
  const status = await checkServerStatus(context, ollamaHost);
  assert.equal(status.hasReranker, true);
  const detected = await detectServerType(context, ollamaHost);
  const modes = { custom: "custom", ollama: "ollama", "vl-classifier": "vl-classifier", auto: detected };
  const found = {};
  for (const [name, apiType] of Object.entries(modes)) {
    const ranked = await rerankDocuments(context, { ...config, apiType, enableClassification: true });
    found[name] = ranked.map((each) => [each._originalIndex, each._rerankScore]);
    assert.deepEqual(ranked.map((each) => each.pageContent), found[name].map(([index]) => texts[index]));
  }
  await assert.rejects(rerankDocuments(context, { ...config, model: "nope", apiType: "custom" }), /not found/);
  await assert.rejects(rerankDocuments(context, { ...config, model: "nope", apiType: "ollama" }), /404/);
  console.log(JSON.stringify({ detected, found }));
})();
