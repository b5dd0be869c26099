// Measures the page: `cargo xtask serve --measure` starts the servers and reads the JSON this
// prints.
//
// Cold is a browser that has never seen the page, on a slow line; its bytes are counted by the
// server, so it does nothing but wait for the prompt. Warm is a second visit on a fast line.
import { chromium } from "@playwright/test";

const { DRYDOCK_COLD_URL, DRYDOCK_URL, CHROMIUM } = process.env;
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

/** A browser that has never seen the page. */
const newContext = () => browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US" });

/** Opens the page and adds an instance; how long until it is ready, and until its prompt. */
const visit = async (context, url) => {
  const page = await context.newPage();
  const started = performance.now();
  await page.goto(url, { waitUntil: "commit" });
  await page.locator(".status.ready").waitFor();
  const ready_ms = performance.now() - started;
  await page.locator("button.add").click();
  await page.locator(".screen .xterm-rows").getByText("$").first().waitFor({ timeout: 120_000 });
  return { page, ready_ms, prompt_ms: performance.now() - started };
};

/** A command's time from Enter to its output. */
const command = async (page, text, expected) => {
  await page.keyboard.type(text);
  const started = performance.now();
  await page.keyboard.press("Enter");
  await page.locator(".screen:visible .xterm-rows > div", { hasText: expected }).first().waitFor({ timeout: 120_000 });
  return performance.now() - started;
};

const stranger = await newContext();
const cold = await visit(stranger, DRYDOCK_COLD_URL);
await stranger.close();
const context = await newContext();
const first = await visit(context, DRYDOCK_URL);
await first.page.close();
const warm = await visit(context, DRYDOCK_URL);
const pull_ms = await command(warm.page, "docker pull -q busybox && echo pulled-$((1+1))", /^pulled-2/);
const runs = [];
for (let n = 0; n < 5; n++) {
  runs.push(await command(warm.page, `docker run --rm busybox true; echo done-$((${n}+10))`, new RegExp(`^done-${n + 10}`)));
}
runs.sort((a, b) => a - b);
// Work for the interpreter; `cargo xtask bench` has qemu-user do the same.
await command(warm.page, "seq 1 600000 >/tmp/x; echo made-$((1+1))", /^made-2/);
const work = {};
for (const [name, text] of [
  ["sha256sum", "sha256sum /tmp/x"],
  ["gzip", "gzip -c /tmp/x"],
  ["sort", "LC_ALL=C sort /tmp/x"],
  ["awk", "awk 'BEGIN{for(i=0;i<600000;i++)s+=i%7;print s}'"],
]) {
  const times = [];
  for (let n = 0; n < 3; n++) {
    times.push(await command(warm.page, `${text} >/dev/null; echo ${name}-$((${n}+10))`, new RegExp(`^${name}-${n + 10}`)));
  }
  work[`work_${name}_ms_best`] = Math.min(...times);
}
const rounded = (value) => Math.round(value);
console.log(
  JSON.stringify({
    cold_ready_ms: rounded(cold.ready_ms),
    cold_prompt_ms: rounded(cold.prompt_ms),
    warm_ready_ms: rounded(warm.ready_ms),
    warm_prompt_ms: rounded(warm.prompt_ms),
    docker_pull_busybox_ms: rounded(pull_ms),
    docker_run_true_ms_median: rounded(runs[2]),
    docker_run_true_ms_best: rounded(runs[0]),
    ...Object.fromEntries(Object.entries(work).map(([name, value]) => [name, rounded(value)])),
  }),
);
await browser.close();
