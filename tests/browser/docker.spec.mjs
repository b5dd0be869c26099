// The Docker panel: what the engine has, as it changes, and images between it and the user's files.
import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, open, screen, type } from "./drive.mjs";

const panel = (page) => page.getByRole("region", { name: "Docker: node1" });
const tab = (page, name) => panel(page).getByRole("tab", { name });
const shot = async (page, name) => {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
};

/** An instance with its Docker panel beside the terminal, which has the keyboard. */
const openPanel = async (page) => {
  await open(page);
  await addInstance(page);
  await page.getByRole("button", { name: "DOCKER", exact: true }).click();
  await expect(panel(page)).toBeVisible();
  await screen(page).click();
};

test("containers appear, change and are shown in detail", async ({ page }) => {
  await openPanel(page);
  const list = panel(page).getByRole("list", { name: "Containers" });
  await expect(panel(page)).toContainText("There is no container yet");
  await type(page, "docker run -d --name web -p 8080:80 --memory 64m --cpus 0.5 --restart on-failure:3 busybox sh -c 'echo hello; echo more >> /etc/passwd; echo new > /root/new; rm /etc/shadow; mkdir /www; echo page > /www/index.html; exec httpd -f -h /www'");
  const row = (name) => list.getByRole("listitem").filter({ has: page.getByRole("button", { name: new RegExp(`^${name} `) }) });
  const web = row("web");
  await expect(web).toContainText("Up ");
  await expect(web).toContainText("busybox");
  await expect(web).toContainText("0.5 CPU · 64MiB");
  await expect(web).toContainText("on-failure:3");
  await expect(web.getByRole("meter", { name: "Memory" })).toHaveAttribute("aria-valuetext", /[1-9].*\/ 64MiB/);
  await expect(tab(page, "Containers")).toContainText("1");

  await type(page, "docker run -d --name busy busybox sh -c 'while :; do :; done'; docker run --name bad busybox sh -c 'exit 7'");
  const busy = row("busy");
  const cpu = async () => Number(await busy.getByRole("meter", { name: "CPU" }).getAttribute("aria-valuenow"));
  await expect.poll(cpu).toBeGreaterThan(20);
  const bad = row("bad");
  await expect(bad).toContainText("exit code 7");

  // In detail, with what it changed and what was copied up.
  await web.getByRole("button", { name: /^web/ }).click();
  const passwd = web.getByRole("listitem").filter({ hasText: "/etc/passwd" });
  await expect(passwd).toContainText(/^C.*copied up: \d+B from layer 1 \(.+\)/);
  await expect(web.getByRole("listitem").filter({ hasText: "/root/new" })).toContainText(/^A/);
  await expect(web.getByRole("listitem").filter({ hasText: "/etc/shadow" })).toContainText(/^D.*hides/);
  await expect(web.getByLabel("Log", { exact: true })).toContainText("hello");
  await expect(web).toContainText("172.17.0.2");
  await shot(page, "containers");
  await screen(page).click();
  await type(page, "docker exec web touch /root/later");
  await expect(web.getByRole("listitem").filter({ hasText: "/root/later" })).toBeVisible();

  // Its port opens beside it, and its commands go to the terminal.
  await type(page, "clear");
  await web.getByRole("button", { name: "OPEN PORT: 8080→80/tcp" }).click();
  const port = page.getByRole("region", { name: "node1:8080" });
  await expect(port).toBeVisible();
  await port.getByRole("button", { name: "Close" }).click();
  await panel(page).getByRole("button", { name: "Type it into the terminal: docker diff web" }).click();
  await page.keyboard.press("Enter");
  await expectLine(page, "A /root/new");
  await expectLine(page, "D /etc/shadow");

  await type(page, "clear; docker rm -f web busy");
  await expect(list.getByRole("listitem")).toHaveCount(1);
  // A panel that is closed and opened again knows everything anew.
  await panel(page).getByRole("button", { name: "Close" }).click();
  await screen(page).click();
  await type(page, "docker rm bad");
  await page.getByRole("button", { name: "DOCKER", exact: true }).click();
  await expect(panel(page)).toContainText("There is no container yet");
});

test("images are stacks in which shared layers are one block", async ({ page }) => {
  await openPanel(page);
  await tab(page, "Images").click();
  await expect(panel(page)).toContainText("There is no image yet");
  await screen(page).click();
  await type(page, "docker pull -q nginx; docker pull -q redis; docker pull -q busybox; docker run -d --name cache redis; echo pulled-$((1+1))");
  await expectLine(page, "pulled-2", { timeout: 90_000 });
  const stacks = panel(page).getByRole("group", { name: "Images" });
  for (const name of ["nginx:latest", "redis:latest", "busybox:latest"]) {
    await expect(stacks.getByRole("button").filter({ hasText: name })).toBeVisible();
  }
  // Debian's layer is under both, and as wide as both.
  const base = stacks.getByRole("button").filter({ hasText: "×2" });
  await expect(base).toHaveCount(1);
  const box = async (name) => stacks.getByRole("button").filter({ hasText: name }).first().boundingBox();
  const [under, nginx, redis, busybox] = [await base.boundingBox(), await box("nginx:latest"), await box("redis:latest"), await box("busybox:latest")];
  expect(under.width).toBeGreaterThan(nginx.width + redis.width - 2);
  expect(under.y).toBeGreaterThan(Math.max(nginx.y, redis.y));
  expect(busybox.x + busybox.width <= under.x || busybox.x >= under.x + under.width).toBe(true);
  await base.click();
  await expect(panel(page).getByRole("definition").filter({ hasText: "nginx:latest, redis:latest" }).or(
    panel(page).getByRole("definition").filter({ hasText: "redis:latest, nginx:latest" }))).toBeVisible();
  await expect(panel(page).getByRole("definition").filter({ hasText: "cache" })).toBeVisible();
  await shot(page, "images");
  await stacks.getByRole("button").filter({ hasText: "redis:latest" }).click();
  await expect(panel(page)).toContainText(/shared/);
  await expect(panel(page).getByRole("button", { name: "Type it into the terminal: docker history redis:latest" })).toBeVisible();
  await shot(page, "image");
  await screen(page).click();
  await type(page, "clear; docker tag busybox mine:1; docker commit cache");
  await expect(stacks.getByRole("button").filter({ hasText: "mine:1" })).toBeVisible();
  await expect(stacks.getByRole("button").filter({ hasText: "<none>" })).toBeVisible();
});

test("networks, volumes and events are the engine's", async ({ page }) => {
  await openPanel(page);
  await type(page, "docker network create web; docker volume create data; docker run -d --name one --network web --network-alias first -p 8081:80 -v data:/data busybox sh -c 'echo four > /data/f; exec httpd -f'; docker run -d --name two --network web busybox sleep 999; docker run -d --name three busybox sleep 999");
  await tab(page, "Networks").click();
  const web = panel(page).getByRole("region", { name: "web" });
  await expect(web).toContainText(/br-[0-9a-f]{12}/);
  await expect(web).toContainText("172.18.0.0/16");
  const one = web.getByRole("listitem").filter({ hasText: "one" });
  await expect(one).toContainText("172.18.0.2/16");
  await expect(one).toContainText("also called first");
  await expect(one.getByRole("button", { name: "192.168.0.13:8081 → 80/tcp" })).toBeVisible();
  await expect(web.getByRole("listitem").filter({ hasText: "two" })).toContainText("172.18.0.3/16");
  await expect(panel(page).getByRole("region", { name: "bridge" })).toContainText("three");
  await shot(page, "networks");
  await screen(page).click();
  await type(page, "clear; docker network connect web three");
  await expect(web.getByRole("listitem").filter({ hasText: "three" })).toBeVisible();
  await type(page, "docker network disconnect web two");
  await expect(web.getByRole("listitem").filter({ hasText: "two" })).toHaveCount(0);

  await tab(page, "Volumes").click();
  const data = panel(page).getByRole("region", { name: "data" });
  await expect(data).toContainText("/var/lib/docker/volumes/data/_data");
  await expect(data).toContainText("one /data");
  await expect(data).toContainText("5B");
  await shot(page, "volumes");

  await tab(page, "Events").click();
  const events = panel(page).getByRole("list", { name: "Events" }).getByRole("listitem");
  // What happened before the view was opened is there too, newest first.
  await expect(events.first()).toContainText("disconnect");
  await expect(events.filter({ hasText: "pull" })).toContainText("busybox");
  await screen(page).click();
  await type(page, "clear; docker kill one");
  await expect(events.filter({ hasText: "die" })).toContainText("exitCode=137");
  await panel(page).getByRole("button", { name: "volume", exact: true }).click();
  await expect(events.filter({ hasText: /\.\d{3}container/ })).toHaveCount(0);
  await expect(events.filter({ hasText: "create" })).toContainText("data");
  await panel(page).getByRole("button", { name: "all", exact: true }).click();
  await shot(page, "events");
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(panel(page).getByRole("tab", { name: "이벤트" })).toBeVisible();
  await shot(page, "events-ko");
});

/** Drops a file of this name on what the locator finds. */
const drop = async (page, locator, name, content) => {
  const base64 = content.toString("base64");
  const data = await page.evaluateHandle(async ([base64, name]) => {
    const bytes = await (await fetch(`data:application/octet-stream;base64,${base64}`)).arrayBuffer();
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    return data;
  }, [base64, name]);
  await locator.dispatchEvent("dragover", { dataTransfer: data });
  await expect(page.locator(".drop")).toContainText("node1");
  await locator.dispatchEvent("drop", { dataTransfer: data });
};

test("an image goes out as a file, and comes in again when it is dropped", async ({ page }) => {
  await openPanel(page);
  await tab(page, "Images").click();
  await screen(page).click();
  await type(page, "docker pull -q busybox; docker tag busybox mine:1; docker rmi busybox");
  const stacks = panel(page).getByRole("group", { name: "Images" });
  await stacks.getByRole("button").filter({ hasText: "mine:1" }).click();
  await expect(stacks.getByRole("button").filter({ hasText: "busybox:latest" })).toHaveCount(0);
  const download = page.waitForEvent("download");
  await panel(page).getByRole("button", { name: "Download as tar" }).click();
  const saved = await download;
  expect(saved.suggestedFilename()).toBe("mine-1.tar");
  const archive = await readFile(await saved.path());
  expect(archive.subarray(257, 262).toString()).toBe("ustar");
  const transfers = page.getByRole("list", { name: "Images on their way" }).getByRole("listitem");
  await expect(transfers).toContainText("goes to your downloads");
  await transfers.getByRole("button").click();
  await screen(page).click();
  await type(page, "clear; docker rmi mine:1");
  await expect(panel(page)).toContainText("There is no image yet");

  // On the terminal; then what is no archive, and what is named like one.
  await drop(page, screen(page), "mine-1.tar", archive);
  await expect(transfers).toContainText("Loaded image: mine:1");
  await expect(stacks.getByRole("button").filter({ hasText: "mine:1" })).toBeVisible();
  await shot(page, "loaded");
  await transfers.getByRole("button").click();
  await screen(page).click();
  await type(page, "clear; docker run --rm mine:1 echo runs-$((2+2))");
  await expectLine(page, "runs-4");
  await drop(page, panel(page).getByRole("tabpanel"), "photo.jpg", Buffer.from("no"));
  await expect(page.getByRole("alert").filter({ hasText: "photo.jpg is not an archive" })).toBeVisible();
  await drop(page, panel(page).getByRole("tabpanel"), "bad.tar", Buffer.from("no archive at all"));
  await expect(transfers).toContainText("docker save -o FILE IMAGE");
  await shot(page, "refused");
  await drop(page, panel(page).getByRole("tabpanel"), "cut.tar", archive.subarray(0, archive.length / 2));
  await expect(transfers.filter({ hasText: "cut.tar" }).getByRole("alert")).toBeVisible();
});

test("the panel is reached by the keyboard, fits narrow screens and is named throughout", async ({ page }) => {
  await openPanel(page);
  await type(page, "docker run -d --name web -p 8080:80 busybox httpd -f; docker pull -q redis");
  await page.keyboard.press("Alt+Shift+Home");
  await tab(page, "Containers").focus();
  for (const name of ["Images", "Networks", "Volumes", "Events", "Containers"]) {
    await page.keyboard.press("ArrowRight");
    await expect(tab(page, name)).toBeFocused();
    await expect(tab(page, name)).toHaveAttribute("aria-selected", "true");
  }
  const web = panel(page).getByRole("button", { name: /^web/ });
  await web.focus();
  await page.keyboard.press("Enter");
  await expect(web).toHaveAttribute("aria-expanded", "true");
  await page.getByRole("button", { name: "한국어" }).click();
  await page.setViewportSize({ width: 390, height: 844 });
  for (const name of ["컨테이너", "이미지", "네트워크", "볼륨", "이벤트"]) {
    await tab(page, name).click();
    await page.waitForTimeout(300);
    await panel(page).scrollIntoViewIfNeeded();
    await shot(page, `narrow-${name}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide, name).toBeLessThanOrEqual(390);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a[href], input, select")]
        .filter((it) => !it.closest(".xterm"))
        .filter((it) => !(it.getAttribute("aria-label") || it.textContent.trim() || it.labels?.length))
        .map((it) => it.outerHTML),
    );
    expect(nameless).toEqual([]);
  }
});
