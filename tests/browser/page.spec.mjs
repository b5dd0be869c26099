// The page around the machines: it loads, speaks two languages and remembers which, shows and
// deletes instances, and does so under any path.
import { expect, test } from "@playwright/test";
import { addInstance, closeDialog, open, screen } from "./drive.mjs";

const DEEP = process.env.DRYDOCK_DEEP_URL;

test("loads without an error, an absolute address or a special header", async ({ page }) => {
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(DEEP) && !url.startsWith("data:")) wrong.push(`request of ${url}`);
  });
  const response = await page.goto(DEEP);
  await expect(page.locator(".status.ready")).toBeVisible();
  expect(response.headers()).not.toHaveProperty("cross-origin-embedder-policy");
  await expect(page.getByRole("heading", { name: "No instance yet" })).toBeVisible();
  expect(wrong).toEqual([]);
});

test("languages switch and are kept", async ({ page }) => {
  await open(page);
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(page.getByRole("button", { name: "새 인스턴스 추가" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.reload();
  await expect(page.getByRole("button", { name: "새 인스턴스 추가" })).toBeVisible();
  await page.getByRole("button", { name: "설정" }).click();
  await page.getByRole("combobox").selectOption("en");
  await expect(page.getByRole("heading", { name: "Settings" })).toBeVisible();
  await closeDialog(page);
});

test.describe("in a Korean browser", () => {
  test.use({ locale: "ko-KR" });
  test("the page is Korean from the start", async ({ page }) => {
    await open(page);
    await expect(page.getByRole("button", { name: "세션 종료" })).toBeVisible();
  });
});

test("an instance comes, is shown and goes", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await addInstance(page);
  const list = page.getByRole("navigation", { name: "Instances" }).getByRole("listitem");
  await expect(list).toHaveCount(2);
  await expect(list.nth(0)).toContainText(/192\.168\.0\.\d+\s*node1/);
  await expect(list.nth(1).getByRole("button")).toHaveAttribute("aria-current", "true");
  await list.nth(0).getByRole("button").click();
  await expect(page.getByRole("heading", { name: "node1" })).toBeVisible();
  await expect(page.getByLabel("IP address")).not.toBeEditable();
  await expect(page.locator(".measures")).toContainText(/\d\.\d\d% \(.+ \/ .+\)/);

  await page.getByRole("button", { name: "OPEN PORT" }).click();
  await expect(page.getByRole("dialog").locator("a")).not.toHaveAttribute("href");
  await closeDialog(page);

  await page.getByRole("button", { name: "DELETE" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "DELETE" }).click();
  await expect(list).toHaveCount(1);
  await expect(page.getByRole("heading", { name: "node2" })).toBeVisible();
});

test("the terminal follows its box and the font", async ({ page }) => {
  await open(page);
  await addInstance(page);
  const rows = () => screen(page).locator(".xterm-rows > div").count();
  const tall = await rows();
  await page.setViewportSize({ width: 900, height: 500 });
  await expect.poll(rows).toBeLessThan(tall);
  const small = await rows();
  for (let i = 0; i < 6; i++) await page.keyboard.press("Control+Equal");
  await expect.poll(rows).toBeLessThan(small);
  await page.reload();
  await expect(page.locator(".status.ready")).toBeVisible();
  await page.getByRole("button", { name: "Settings" }).click();
  await expect(page.getByRole("dialog")).toContainText("21 px");
});

test("the keyboard reaches everything and comes back", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await expect(screen(page).locator("textarea")).toBeFocused();
  await page.keyboard.press("Alt+Shift+Home");
  await expect(page.locator(".instance[aria-current]")).toBeFocused();
  const settings = page.getByRole("button", { name: "Settings" });
  await settings.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(settings).toBeFocused();
});

test("closing the session ends it, and another begins", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await page.getByRole("button", { name: "CLOSE SESSION" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "CLOSE SESSION" }).click();
  await expect(page.getByRole("heading", { name: "Session closed" })).toBeVisible();
  await page.getByRole("button", { name: "Start a new session" }).click();
  await expect(page.locator(".status.ready")).toBeVisible();
  await expect(page.locator(".screen")).toHaveCount(0);
});
