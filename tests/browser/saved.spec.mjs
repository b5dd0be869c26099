// Saved playgrounds: processes, containers and terminals go on after a reload and from a file, and a
// file that cannot be opened says why.
import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";
import { addInstance, closeDialog, expectLine, open, screen, type } from "./drive.mjs";

const settings = (page) => page.getByRole("button", { name: "Settings" }).click();

/** An instance with something to lose: a shell variable, a job, a container. */
const work = async (page) => {
  await addInstance(page);
  await type(page, "mine=kept; sleep 7777 & docker run -d --name box busybox sleep 9999 >/dev/null");
  await type(page, "echo before-$((40+2))");
  await expectLine(page, "before-42");
};

const expectWork = async (page) => {
  await expect(screen(page).locator(".xterm-rows")).toContainText("before-42");
  await type(page, "clear; echo $mine; jobs -r; docker ps --format '{{.Names}} {{.Image}}'");
  await expectLine(page, "kept");
  await expectLine(page, "box busybox");
  await expect(screen(page).locator(".xterm-rows")).toContainText(/Running\s+sleep 7777/);
  await type(page, "docker run --rm busybox echo after-$((1+1))");
  await expectLine(page, "after-2");
  // No time has passed for the machine, but it knows what time it is.
  const now = Math.floor(Date.now() / 1000);
  await type(page, `clear; echo off-by-$(( ($(date +%s) - ${now}) / 60 ))`);
  await expectLine(page, "off-by-0");
};

/** As a last worker that takes its time to end: what is kept is taken until the next worker wants it. */
const holdLock = async (page) => {
  const other = await page.context().newPage();
  await other.goto("saved.js");
  await other.evaluate(() => {
    navigator.locks.request("drydock-playground", async () => {
      while ((await navigator.locks.query()).pending.length === 0) {
        await new Promise((next) => setTimeout(next, 10));
      }
    });
  });
  await page.bringToFront();
};

test("a kept playground goes on after a reload, until the session is closed", async ({ page }) => {
  await open(page);
  await work(page);
  await settings(page);
  await page.getByLabel("Keep it in this browser").check();
  await expect(page.getByRole("dialog")).toContainText("Kept at");
  await closeDialog(page);
  await holdLock(page);
  await page.reload();
  await expectWork(page);
  await page.getByRole("button", { name: "CLOSE SESSION" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "CLOSE SESSION" }).click();
  await page.reload();
  await expect(page.locator(".status.ready")).toBeVisible();
  await expect(page.getByRole("heading", { name: "No instance yet" })).toBeVisible();
});

test("a playground is saved to a file and opened in another browser", async ({ page, browser }) => {
  await open(page);
  await work(page);
  await settings(page);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save to a file" }).click();
  const path = await (await download).path();
  // The machines went on meanwhile.
  await screen(page).click();
  await type(page, "echo still-$((1+2))");
  await expectLine(page, "still-3");

  const elsewhere = await (await browser.newContext({ baseURL: new URL(page.url()).origin })).newPage();
  const choose = async (name, content) => {
    await settings(elsewhere);
    const chosen = { name, mimeType: "application/octet-stream", buffer: content };
    await elsewhere.locator("input[type=file]").setInputFiles(chosen);
  };
  const file = await readFile(path);
  await open(elsewhere);
  await choose("notes.txt", Buffer.from("hello"));
  await expect(elsewhere.getByRole("alert")).toContainText("not a playground");
  await choose("cut.playground", file.subarray(0, file.length / 2));
  await expect(elsewhere.getByRole("alert").filter({ hasText: "the memory" })).toBeVisible();
  const line = file.indexOf("\n") + 1;
  const header = file.subarray(line, line + Number(file.subarray(0, line).toString().split(" ")[2]));
  const other = Buffer.from(header.toString().replace(/sha256:[0-9a-f]{4}/, "sha256:0000"));
  await choose("other.playground", Buffer.concat([file.subarray(0, line), other]));
  await expect(elsewhere.getByRole("dialog")).toContainText("another build");
  await expect(elsewhere.getByRole("dialog")).toContainText("docker run -d --name box busybox");
  await closeDialog(elsewhere);
  // What was refused left a page that works, and the whole file opens.
  await choose("whole.playground", file);
  await expectWork(elsewhere);
});
