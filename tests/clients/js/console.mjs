// The console in a real browser. Arguments: base URL, key, browser, image of a page, PDF of three pages, sound that
// is also what the microphone hears.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const [base, key, executablePath, image, pdf, sound] = process.argv.slice(2);
const EVIL = '<img src=x onerror="document.title=1">.png';
const BROKEN = "fake-broken";
const SLOW_MS = 60000; // models load here

// Root has no sandbox of its own; Chromium then refuses to run with its own.
const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
args.push("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${sound}`);
const browser = await chromium.launch({ executablePath, args });
const context = await browser.newContext();
context.setDefaultTimeout(SLOW_MS);
const page = await context.newPage();
const troubles = [];
const hosts = new Set();
page.on("console", (message) => troubles.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => troubles.push(String(error)));
page.on("request", (request) => hosts.add(new URL(request.url().replace(/^blob:/, "")).origin));

const here = page.locator("#here");
const row = (name) => here.getByRole("listitem").filter({ hasText: name });
const button = (name) => page.getByRole("button", { name, exact: true });

async function key_is_asked_for_and_kept_in_this_tab() {
  await page.goto(`${base}/console/`);
  assert.equal(page.url(), `${base}/console`);
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.equal(await here.getByRole("listitem").count(), 0);
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await dialog.getByText("invalid API key").waitFor();
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await row("wordllama-256d").waitFor();
  assert.equal(await page.evaluate(() => document.cookie + JSON.stringify(localStorage)), "{}");
  await page.reload();
  await row("wordllama-256d").waitFor();
  const refused = troubles.splice(0);
  assert.ok(refused.every((text) => /401/.test(text)), refused.join("\n"));
}

async function models_are_listed_and_loaded_by_keyboard() {
  await row("wordllama-256d").getByText("ready", { exact: true }).waitFor();
  await page.getByText("of the catalogue not here").click();
  await page.locator("#elsewhere code").getByText("turbov2 pull bge-m3-onnx").waitFor();
  const load = button("Load fake-8d");
  await load.focus();
  await page.keyboard.press("Enter");
  await button("Unload fake-8d").waitFor();
  await button(`Load ${BROKEN}`).click();
  await page.getByRole("alert").filter({ hasText: BROKEN }).waitFor();
  troubles.splice(0).forEach((text) => assert.match(text, /500/)); // the browser tells of every failed request
  await page.locator("#events").getByText("fake-8d: it takes").waitFor();
  await page.locator("#pools").getByText(/fake-8d · .* · goes in/).waitFor();
}

async function texts_are_compared_and_ranked() {
  await page.getByRole("link", { name: "Try it" }).click();
  await page.getByLabel("First text").fill("a first text");
  await page.getByLabel("Second text").fill("another one");
  await button("Compare").click();
  const cosine = Number(await page.locator(".card").filter({ hasText: "Cosine" }).locator("strong").textContent());
  await button("Rank").click();
  const ranked = await page.locator(".ranked li").first().textContent();
  return { cosine, best: ranked.replace(/^[\d.]+/, "") };
}

async function page_is_classified() {
  const buffer = await readFile(image);
  await page.getByLabel("File: choose one").setInputFiles({ name: EVIL, mimeType: "image/png", buffer });
  await page.getByText(EVIL).waitFor(); // as text
  await page.getByRole("button", { name: "Classify" }).click();
  await page.getByText(/^Probability of HIGH/).waitFor();
  return page.locator(".wide .result strong").textContent();
}

async function page_is_asked_about() {
  await page.getByLabel("Ask about it").check();
  await page.getByLabel("Question").fill("say <b>this</b> again");
  await button("Ask").click();
  await page.getByText(/tokens written/).waitFor();
  return page.locator(".wide .answer").textContent();
}

async function text_is_drawn_where_it_stands() {
  await page.getByLabel("File: choose one").setInputFiles(pdf);
  await page.getByLabel("Read its text, with boxes").check();
  await page.getByLabel("Page", { exact: true }).fill("2");
  await button("Read").click();
  await page.getByText("Page 2: the file's own text, 2 lines").waitFor();
  assert.equal(await page.locator(".sheet polygon").count(), 2);
  assert.match(await page.locator(".sheet svg").textContent(), /Page.*2:.*mill/);
}

async function document_streams_and_becomes_a_job() {
  await page.getByLabel("Read the whole document").check();
  await button("Read the document").click();
  await page.locator(".pages li").nth(2).waitFor();
  const first = page.locator(".pages li").first();
  await first.locator("summary").click();
  const text = await first.locator("pre").textContent();
  await button("Do it as a job instead").click();
  const job = page.locator(".jobs > li");
  await job.getByText("3 of 3 units").waitFor();
  await page.getByRole("button", { name: /^Show what it gave: document/ }).click();
  await job.locator(".pages li").nth(2).waitFor();
  await page.getByRole("button", { name: /^Remove: document/ }).click();
  await page.getByText("There are none.").waitFor();
  return text;
}

async function speech_is_written_down() {
  const tool = page.locator(".card").filter({ hasText: "what is said in a file" });
  await tool.getByLabel("Sound file").setInputFiles(sound);
  await button("Write it down").click();
  await tool.getByText(/of sound; the model took/).waitFor();
  const said = await tool.locator(".transcript li span").allTextContents();
  await tool.getByLabel("What to give").selectOption("srt");
  await button("Write it down").click();
  const [saved] = await Promise.all([page.waitForEvent("download"), tool.getByRole("link", { name: /^Save .*\.srt/ }).click()]);
  assert.match(await readFile(await saved.path(), "utf8"), /^1\n00:00:00,000 --> /);
  await tool.getByLabel("What to give").selectOption("job");
  await button("Write it down").click();
  const job = page.locator(".jobs > li");
  await page.getByRole("button", { name: /^Show what it gave: transcript/ }).click();
  await job.locator(".transcript li").first().waitFor();
  await page.getByRole("button", { name: /^Make vtt/ }).click();
  await job.getByRole("link", { name: /^Save .*\.vtt/ }).waitFor();
  await page.getByRole("button", { name: /^Remove: transcript/ }).click();
  await page.getByRole("link", { name: "Try it" }).click();
  return said.join(" ");
}

async function what_the_microphone_hears_is_written_as_it_is_said() {
  const tool = page.locator(".card").filter({ hasText: "what is being said" });
  await tool.getByLabel("Language").fill("en");
  await tool.getByRole("button", { name: "Start" }).click();
  await tool.locator(".transcript .is-partial").waitFor();
  assert.ok(Number(await tool.locator("meter").evaluate((meter) => meter.value)) > 0);
  await tool.locator(".transcript li:not(.is-partial)").first().waitFor();
  await tool.getByRole("button", { name: "Stop" }).click();
  await tool.getByText("Ended.").waitFor();
  const first = await tool.locator(".transcript li").first().textContent();
  await tool.getByLabel("Language").fill("no such");
  await tool.getByRole("button", { name: "Start" }).click();
  await tool.getByRole("alert").filter({ hasText: "did not begin a session" }).waitFor();
  troubles.splice(0).forEach((text) => assert.match(text, /400|426/)); // the browser tells of every failure
  return first;
}

async function requests_are_counted() {
  await page.getByRole("link", { name: "Status" }).click();
  await page.locator("#traffic tr").filter({ hasText: "vl-classifier" }).first().waitFor();
  const texts = page.locator("#traffic tr").filter({ hasText: "wordllama-256d" }).filter({ hasText: "interactive" });
  await texts.getByText(/ms|s$/).first().waitFor();
}

async function markup_made_of_text_is_refused_by_the_browser() {
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<b>text</b>";
      return "";
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(refused, "TypeError");
  assert.ok(troubles.splice(0).every((text) => /TrustedHTML/.test(text)));
  assert.equal(await page.title(), "TurboV2 console");
}

async function key_is_forgotten() {
  await button("Forget the key").click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByText("locked").waitFor();
  assert.equal(await here.getByRole("listitem").count(), 0);
  await button("Give a key").click();
  await page.getByRole("dialog").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
}

async function narrow_screens_need_no_sideways_scrolling() {
  const narrow = await browser.newContext({ viewport: { width: 360, height: 740 } });
  await narrow.addInitScript((text) => sessionStorage.setItem("turbov2-key", text), key);
  const phone = await narrow.newPage();
  for (const view of ["status", "try", "jobs"]) {
    await phone.goto(`${base}/console#${view}`);
    await phone.locator(`#${view}`).waitFor();
    await phone.locator("#here li").first().waitFor({ state: "attached" });
    assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 360, view);
  }
  await narrow.close();
}

try {
  await key_is_asked_for_and_kept_in_this_tab();
  await models_are_listed_and_loaded_by_keyboard();
  const texts = await texts_are_compared_and_ranked();
  const label = await page_is_classified();
  const answer = await page_is_asked_about();
  await text_is_drawn_where_it_stands();
  const text = await document_streams_and_becomes_a_job();
  await page.getByRole("link", { name: "Try it" }).click();
  const said = await speech_is_written_down();
  const heard = await what_the_microphone_hears_is_written_as_it_is_said();
  await requests_are_counted();
  assert.deepEqual(troubles, []);
  await markup_made_of_text_is_refused_by_the_browser();
  await key_is_forgotten();
  await narrow_screens_need_no_sideways_scrolling();
  assert.deepEqual([...hosts], [base]);
  console.log(JSON.stringify({ ...texts, label, answer, text, said, heard }));
} finally {
  await browser.close();
}
