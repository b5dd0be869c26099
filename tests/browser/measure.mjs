// Measures the page: `cargo xtask serve --measure` starts the servers and reads the JSON this
// prints.
//
// Cold is a browser that has never seen the page, on a slow line; its bytes are counted by the
// server, so it does nothing but wait for the prompt. Warm is a second visit on a fast line.
// Work is measured in processor time of the worker's thread, which says more than the clock on a machine
// that others use too, and twice: the first run, which has V8's warming up and the program's download in
// it, and the best.
import { readFileSync, readdirSync } from "node:fs";
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

/** A file of /proc; a process may be gone by now. */
const proc = (path) => {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return "";
  }
};

/** True for a process that this program has started, or one of those has. */
const isOurs = (pid) => {
  const parent = Number(proc(`${pid}/stat`).split(") ").at(-1).split(" ")[1]);
  return parent === process.pid || (parent > 1 && isOurs(parent));
};

/** Milliseconds of processor time of the worker's thread. */
const processor_ms = () => {
  let sum = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (!proc(`${pid}/cmdline`).includes("--type=renderer") || !isOurs(pid)) continue;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      if (!proc(`${pid}/task/${thread}/comm`).startsWith("DedicatedWorker")) continue;
      sum += Number(proc(`${pid}/task/${thread}/schedstat`).split(" ")[0]) / 1e6;
    }
  }
  return sum;
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
// The first has the command's download in it.
for (let n = 0; n < 5; n++) {
  runs.push(await command(warm.page, `docker run --rm busybox true; echo done-$((${n}+10))`, new RegExp(`^done-${n + 10}`)));
}
const first_run_ms = runs[0];
runs.sort((a, b) => a - b);
// Work for the interpreter; `cargo xtask bench` has qemu-user do the same.
await command(warm.page, "seq 1 600000 >/tmp/x; for i in {1..8}; do cat /tmp/x; done >/tmp/x8; echo made-$((1+1))", /^made-2/);
const work = {};
for (const [name, text] of JSON.parse(process.env.DRYDOCK_WORK ?? "[]")) {
  const times = [];
  for (let n = 0; n < 4; n++) {
    const before = processor_ms();
    await command(warm.page, `${text} >/dev/null; echo ${name}-$((${n}+10))`, new RegExp(`^${name}-${n + 10}`));
    times.push(processor_ms() - before);
  }
  work[`work_${name}_ms_first`] = times[0];
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
    docker_run_true_ms_first: rounded(first_run_ms),
    docker_run_true_ms_median: rounded(runs[2]),
    docker_run_true_ms_best: rounded(runs[0]),
    ...Object.fromEntries(Object.entries(work).map(([name, value]) => [name, rounded(value)])),
  }),
);
await browser.close();
