// Transcripts in the browser: the sessions of tests/transcripts that drydockd runs natively, in
// the page's own machine. The format is described in crates/drydockd/tests/transcripts.rs.
import { readFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import { addInstance, open, screen } from "./drive.mjs";

const FILES = ["sh/pipes", "sh/files", "docker/run", "docker/layers"];

/** Separates the commands' outputs; no program prints it. */
const MARK = "\u001e";

/** The commands of a transcript, each with what is expected of it. */
const parse = (text) => {
  const steps = [];
  let blank = true;
  for (const line of text.split("\n")) {
    const step = steps.at(-1);
    if (line.startsWith("$ ")) steps.push({ command: line.slice(2), output: [], status: "0" });
    else if (!step || (blank && line.startsWith("#"))) blank = true;
    else if (line.startsWith("> ") && !step.output.length) step.command += `\n${line.slice(2)}`;
    else if (/^\? \d+$/.test(line)) step.status = line.slice(2);
    else step.output.push(line);
    blank = line === "";
  }
  for (const { output } of steps) while (output.at(-1) === "") output.pop();
  return steps;
};

/** What the expected lines mean: `[..]` is any text, a line `...` any lines. */
const pattern = (lines) => {
  const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const body = lines.map((line) =>
    line === "..." ? "(?:[^\n]*\n)*?" : `${line.split("[..]").map(literal).join("[^\n]*")}\n`,
  );
  return new RegExp(`^${body.join("")}$`);
};

/** A shell script that runs the commands and marks where each ends. */
const script = (steps) =>
  ["exec 2>&1"]
    .concat(
      steps.map(({ command }) => {
        const quoted = command.replaceAll("'", "'\\''");
        return `eval '${quoted}' </dev/null\nprintf '${MARK}%d${MARK}' $?`;
      }),
    )
    .join("\n");

for (const file of FILES) {
  test(`transcript ${file}`, async ({ page }) => {
    await page.setViewportSize({ width: 1600, height: 1000 });
    const folder = new URL("../transcripts/", import.meta.url);
    const steps = parse(readFileSync(new URL(`${file}.txt`, folder), "utf8"));
    await open(page);
    await addInstance(page);
    // Both ways as base64 on the screen: what is tested is the machine, not the escape sequences.
    const sent = gzipSync(script(steps)).toString("base64");
    const line =
      `echo ${sent} | base64 -d | gzip -d >/tmp/session; bash /tmp/session >/tmp/printed; ` +
      "clear; echo '<''<'; gzip -c /tmp/printed | base64; echo '>''>'";
    await page.keyboard.insertText(line);
    await page.keyboard.press("Enter");
    const shown = async () => (await screen(page).locator(".xterm-rows > div").allTextContents()).join("");
    await expect.poll(shown, { timeout: 90_000 }).toContain(">>");
    const encoded = (await shown()).split("<<").at(-1).split(">>")[0].replace(/[^A-Za-z0-9+/=]/g, "");
    const fields = gunzipSync(Buffer.from(encoded, "base64")).toString().split(MARK);
    for (const [index, step] of steps.entries()) {
      const [printed = "", status] = fields.slice(index * 2);
      const lines = printed.replace(/\n$/, "").split("\n").map((text) => `${text.trimEnd()}\n`);
      expect.soft(printed ? lines.join("") : "", step.command).toMatch(pattern(step.output));
      expect.soft(status, step.command).toBe(step.status);
    }
  });
}
