// The LAN's cables and packet capture: what is done to a cable is seen by ping, what goes through an interface
// is listed and saved.
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, lines, open, screen, type } from "./drive.mjs";

const region = (page, name) => page.getByRole("region", { name, exact: true });

/** Two instances, of which the first is shown. */
const twoInstances = async (page) => {
  await open(page);
  await addInstance(page);
  await addInstance(page);
  const list = page.getByRole("navigation", { name: "Instances" }).getByRole("listitem");
  await list.nth(0).getByRole("button").click();
  return list;
};

test("a cable is pulled and made bad from the page, and ping sees it", async ({ page }) => {
  const list = await twoInstances(page);
  await page.getByRole("button", { name: "LAN", exact: true }).click();
  const cable = region(page, "LAN").getByRole("group", { name: "node2" });
  const card = page.locator(".card");
  const text = async () => (await lines(page)).join("\n");

  await screen(page).click();
  await type(page, "ping -i 0.2 node2");
  await expect.poll(text).toContain("icmp_seq=3 ");
  await cable.getByLabel("Plugged in").uncheck();
  await expect(list.nth(1).getByRole("img", { name: "Unplugged" })).toBeVisible();
  const last = async () => Number([...(await text()).matchAll(/icmp_seq=(\d+) ttl/g)].at(-1)[1]);
  // What was on its way has come.
  await page.waitForTimeout(500);
  const stopped = await last();
  await page.waitForTimeout(1500);
  expect(await last()).toBe(stopped);
  await cable.getByLabel("Plugged in").check();
  await expect.poll(last).toBeGreaterThan(stopped + 5);
  await screen(page).click();
  await page.keyboard.press("Control+C");
  // In however narrow a terminal.
  const whole = async () => (await text()).replaceAll("\n", "");
  await expect.poll(whole).toMatch(/[1-9]\d?(\.\d+)?% packet *loss/);

  await cable.getByLabel("Delay").fill("40");
  await cable.getByLabel("Loss").fill("100");
  await cable.getByLabel("Loss").press("Tab");
  await screen(page).click();
  await type(page, "clear; ping -c 2 -i 0.2 -W 0.2 node2 | grep -o '[0-9]*% packet loss'");
  await expectLine(page, "100% packet loss");
  await cable.getByLabel("Loss").fill("0");
  await cable.getByLabel("Part").selectOption("B");
  await screen(page).click();
  await type(page, "clear; ping -c 1 -W 0.2 node2 | grep -o '[0-9]*% packet loss'");
  await expectLine(page, "100% packet loss");
  await cable.getByLabel("Part").selectOption("A");
  await screen(page).click();
  await type(page, "clear; ping -c 3 -i 0.2 node2");
  await expect.poll(whole).toMatch(/min\/avg\/max\/mdev = (7[5-9]|8\d|9\d|\d{3,})\./);

  // The state is on the card of its instance, in both languages.
  await list.nth(1).getByRole("button").click();
  await expect(card).toContainText("Delay 40 ms");
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(card).toContainText("지연 40 ms");
  await page.getByRole("button", { name: "English" }).click();
  await cable.getByRole("button", { name: "Reset" }).click();
  await expect(card).not.toContainText("Delay");
  await region(page, "LAN").getByRole("button", { name: "Close" }).click();
  await expect(region(page, "LAN")).toHaveCount(0);
});

test("packets are captured, listed, found and saved", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "docker run -d --name web -p 8080:80 busybox sh -c 'echo hi > index.html; httpd -f' && echo up-$((1+1))");
  await expectLine(page, "up-2");
  await page.getByRole("button", { name: "CAPTURE" }).click();
  const panel = region(page, "Packet capture: node1");
  const interfaces = panel.getByRole("list", { name: "Interfaces" });
  for (const name of ["lo", "eth0", "docker0", "web: eth0"]) {
    await expect(interfaces.getByRole("button").filter({ has: page.getByText(name, { exact: true }) })).toBeVisible();
  }
  await expect(panel.getByRole("button", { name: "Download pcap" })).toBeDisabled();
  await interfaces.getByRole("button").filter({ has: page.getByText("web: eth0", { exact: true }) }).click();
  await panel.getByRole("button", { name: "Start" }).click();
  await screen(page).click();
  await type(page, "clear; curl -s 172.17.0.2; ping -c 2 -i 0.2 172.17.0.2 | tail -2 | head -1");
  await expectLine(page, "hi");
  const rows = panel.getByRole("region", { name: "Packets" }).getByRole("row");
  await expect(rows.filter({ hasText: "GET / HTTP/1.1" })).toContainText(/172\.17\.0\.1\s*172\.17\.0\.2\s*HTTP/);
  await expect(rows.filter({ hasText: "echo reply" })).toHaveCount(2);
  await expect(rows.filter({ hasText: "[SYN, ACK]" })).toHaveCount(1);
  await panel.getByRole("searchbox", { name: "Filter" }).fill("icmp");
  await expect(rows.filter({ hasText: "TCP" })).toHaveCount(0);
  await expect(rows.filter({ hasText: "echo request" })).toHaveCount(2);
  await panel.getByRole("searchbox", { name: "Filter" }).fill("");

  await panel.getByRole("button", { name: "Stop" }).click();
  const count = (await rows.count()) - 1;
  await screen(page).click();
  await type(page, "clear; ping -c 1 172.17.0.2 >/dev/null; echo after-$((2+2))");
  await expectLine(page, "after-4");
  await expect(rows).toHaveCount(count + 1);
  const download = page.waitForEvent("download");
  await panel.getByRole("button", { name: "Download pcap" }).click();
  const saved = await download;
  expect(saved.suggestedFilename()).toBe("node1-web-eth0.pcap");
  const file = await readFile(await saved.path());
  // Little-endian with nanoseconds, version 2.4, Ethernet; then records until the end.
  expect([file.readUInt32LE(0), file.readUInt16LE(4), file.readUInt16LE(6), file.readUInt32LE(20)]).toEqual([0xa1b23c4d, 2, 4, 1]);
  let [at, records] = [24, 0];
  for (; at < file.length; records++) at += 16 + file.readUInt32LE(at + 8);
  expect([at, records]).toEqual([file.length, count]);
  expect(Math.abs(file.readUInt32LE(24) - Date.now() / 1000)).toBeLessThan(600);
  const read = tcpdump(await saved.path());
  if (read) expect(read).toContain("HTTP: GET / HTTP/1.1");

  // A new capture begins empty, and closing the panel ends it.
  await panel.getByRole("button", { name: "Start" }).click();
  await expect(rows).toHaveCount(1);
  await panel.getByRole("button", { name: "Close" }).click();
  await expect(panel).toHaveCount(0);
});

/** What tcpdump reads, where this machine has it. */
const tcpdump = (path) => {
  try {
    return execFileSync("tcpdump", ["-n", "-r", path], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
};

test("panels are reached by the keyboard and fit narrow screens", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await page.keyboard.press("Alt+Shift+Home");
  const lan = page.getByRole("button", { name: "LAN", exact: true });
  await lan.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "CAPTURE" }).press("Enter");
  await expect(region(page, "Packet capture: node1")).toBeVisible();
  const cable = region(page, "LAN").getByRole("group", { name: "node1" });
  await cable.getByLabel("Plugged in").focus();
  await page.keyboard.press("Space");
  await expect(page.locator(".card")).toContainText("Unplugged");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(300);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(wide).toBeLessThanOrEqual(390);
  // Everything that can be pressed has a name.
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, a[href], input, select")]
      .filter((it) => !it.closest(".xterm"))
      .filter((it) => !(it.getAttribute("aria-label") || it.textContent.trim() || it.labels?.length))
      .map((it) => it.outerHTML),
  );
  expect(nameless).toEqual([]);
});
