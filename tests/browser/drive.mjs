// How the tests use the page: open it, add an instance, type, and read the terminal.
import { expect } from "@playwright/test";

/** The terminal that is shown. */
export const screen = (page) => page.locator(".screen:visible");

/** Opens the page and waits for its worker. */
export const open = async (page, url = "/") => {
  // The browser asks before a tab with instances is left.
  page.on("dialog", (dialog) => dialog.accept());
  await page.goto(url);
  await expect(page.locator(".status.ready")).toBeVisible();
};

/** Adds an instance and waits for its shell's prompt. */
export const addInstance = async (page) => {
  const before = await page.locator(".screen").count();
  await page.locator("button.add").click();
  await expect(page.locator(".screen")).toHaveCount(before + 1);
  await expect(screen(page).locator(".xterm-rows")).toContainText("$");
};

/** What the terminal shows, line by line, without trailing blanks. */
export const lines = async (page) => {
  const rows = await screen(page).locator(".xterm-rows > div").allTextContents();
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd());
};

/** Types a command line. */
export const type = async (page, text) => {
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
};

/** Waits until a line of the terminal is exactly this. */
export const expectLine = (page, line, options) =>
  expect.poll(() => lines(page), options).toContain(line);

export const closeDialog = async (page) => {
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
};
