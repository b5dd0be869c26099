// OPEN PORT: pages that machines serve, through the service worker: assets, links and forms by absolute
// paths, redirects, cookies, large bodies, events as they come.
import { expect, test } from "@playwright/test";
import { addInstance, open, screen } from "./drive.mjs";
import { serveSite } from "./site.mjs";

test("a port's page opens from its chip, with everything it is made of", async ({ page, context }) => {
  await open(page);
  await addInstance(page);
  await serveSite(page);
  const chip = page.getByRole("link", { name: "8080" });
  await expect(chip).toBeVisible();
  const opened = context.waitForEvent("page");
  await chip.click();
  const site = await opened;
  await expect(site.getByRole("heading", { name: "home" })).toBeVisible();
  await expect(site.locator("h1")).toHaveCSS("color", "rgb(1, 2, 3)");
  await expect(site.locator("#api")).toHaveText("api of 192.168.0.13:8080");
  await expect(site.locator("#events")).toHaveText("0123");
  const home = site.url();
  expect(await site.evaluate(() => fetch("large").then((r) => r.text()).then((t) => t.length))).toBe(3_000_000);

  await site.getByRole("textbox").fill("한글 & more");
  await site.getByRole("button", { name: "send" }).click();
  await expect(site.locator("h1")).toHaveText(`word=${encodeURIComponent("한글")}+%26+more`);
  await site.goto(`${home}login`);
  await expect(site.locator("h1")).toHaveText("who: who=me");
  expect(site.url()).toBe(`${home}who`);
  await site.goto(home);
  await site.getByRole("link", { name: "who" }).click();
  await expect(site.locator("h1")).toHaveText("who: who=me");
  await site.goto(`${home}nowhere`);
  await expect(site.locator("body")).toHaveText("no such page");

  // A port nobody listens on, by its number.
  await page.getByRole("button", { name: "OPEN PORT" }).click();
  await page.getByRole("spinbutton", { name: "Port" }).fill("81");
  const refused = context.waitForEvent("page");
  await page.getByRole("dialog").getByRole("link", { name: "Open in a new tab" }).click();
  await expect((await refused).locator("body")).toContainText("192.168.0.13:81: Connection refused");
  await page.keyboard.press("Escape");

  // Without the playground there is nobody to answer, and it is said.
  await screen(page).click();
  await page.close();
  await site.goto(home);
  await expect(site.locator("h1")).toHaveText("The playground is not there");
});

/** The panel of a port, and the page in it. */
const panelOf = (page, name) => {
  const panel = page.getByRole("region", { name, exact: true });
  return { panel, site: panel.frameLocator("iframe"), line: panel.getByRole("textbox", { name: "Address" }) };
};

test("ports are shown in panels, side by side", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await serveSite(page, [8081]);
  await page.getByRole("button", { name: "8080", exact: true }).click();
  await page.getByRole("button", { name: "8081", exact: true }).click();
  const [first, second] = [panelOf(page, "node1:8080"), panelOf(page, "node1:8081")];
  await expect(first.site.locator("#api")).toHaveText("api of 192.168.0.13:8080");
  await expect(second.site.locator("#api")).toHaveText("api of 192.168.0.13:8081");
  await expect(first.site.locator("h1")).toHaveCSS("color", "rgb(1, 2, 3)");
  await first.site.getByRole("link", { name: "who" }).click();
  await expect(first.line).toHaveValue("192.168.0.13:8080/who");
  await first.line.fill("/large");
  await first.line.press("Enter");
  await expect(first.site.locator("body")).toContainText("0123456789");
  await first.line.fill("/frameless");
  await first.line.press("Enter");
  await expect(first.site.locator("h1")).toHaveText("frameless");
  await first.line.fill("node1:81");
  await first.line.press("Enter");
  await expect(first.site.locator("body")).toContainText("192.168.0.13:81: Connection refused");
  await first.line.fill("http://example.org/");
  await first.line.press("Enter");
  await expect(first.line).toHaveValue("192.168.0.13:81/");
  await expect(first.panel.getByRole("link", { name: "Open in a new tab" })).toHaveAttribute("href", /192\.168\.0\.13-81\/$/);
  // What happens in one panel is nothing to the other.
  await second.site.getByRole("textbox").fill("typed");
  await first.panel.getByRole("button", { name: "Close" }).click();
  await expect(first.panel).toHaveCount(0);
  await expect(second.site.getByRole("textbox")).toHaveValue("typed");
  await second.panel.getByRole("button", { name: "Reload" }).click();
  await expect(second.site.getByRole("textbox")).toHaveValue("");

  // The bar between terminal and panels moves by keys, and by the mouse over the page in the panel.
  const bar = page.getByRole("separator", { name: "Size of the panels" });
  const width = async () => (await second.panel.boundingBox()).width;
  const before = await width();
  await bar.press("ArrowLeft");
  await expect(bar).toHaveAttribute("aria-valuenow", "55");
  expect(await width()).toBeGreaterThan(before);
  const box = await bar.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 100);
  await page.mouse.down();
  await page.mouse.move(box.x + 200, box.y + 120, { steps: 4 });
  await page.mouse.up();
  expect(await width()).toBeLessThan(before);
  await page.getByRole("button", { name: "Panels below the terminal" }).click();
  await expect(bar).toHaveAttribute("aria-orientation", "horizontal");
  await expect(second.site.getByRole("heading", { name: "home" })).toBeVisible();
});

/** Ways in which a page is without service workers. */
const REFUSALS = {
  "none registered": () => {
    navigator.serviceWorker.register = () => Promise.reject(new DOMException("forbidden", "SecurityError"));
  },
  "none at all": () => delete Navigator.prototype.serviceWorker,
};

for (const [how, refuse] of Object.entries(REFUSALS)) {
  test(`without service workers (${how}) the panel shows a port's page all the same`, async ({ page }) => {
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.addInitScript(refuse);
    await open(page);
    await addInstance(page);
    await serveSite(page);
    await expect(page.getByRole("link", { name: "8080" })).toHaveCount(0);
    await page.getByRole("button", { name: "8080", exact: true }).click();
    const { panel, site, line } = panelOf(page, "node1:8080");
    await expect(panel.getByRole("note")).toContainText("No service worker is allowed here");
    await expect(site.getByRole("heading", { name: "home" })).toBeVisible();
    await expect(site.locator("h1")).toHaveCSS("color", "rgb(1, 2, 3)");
    await expect(site.locator("h1")).toHaveCSS("background-image", /data:image\/svg/);
    await expect.poll(() => site.getByAltText("picture").evaluate((it) => it.naturalWidth)).toBe(37);
    await expect(site.locator("#api")).toHaveText("api of 192.168.0.13:8080");
    await expect(site.locator("#xhr")).toHaveText("200api of 192.168.0.13:8080");
    await expect(site.locator("#module")).toHaveText("imported");
    await expect(site.locator("#events")).toHaveText("0123");
    expect(await site.locator("html").evaluate(() => document.title)).toBe("titled by a script");
    if (how === "none at all") return;

    await site.getByRole("link", { name: "end" }).click();
    await expect(line).toHaveValue("192.168.0.13:8080/#end");
    await site.getByRole("textbox").fill("한글 & more");
    await site.getByRole("button", { name: "send" }).click();
    await expect(site.locator("h1")).toHaveText(`word=${encodeURIComponent("한글")}+%26+more`);
    await line.fill("/login");
    await line.press("Enter");
    await expect(site.locator("h1")).toHaveText("who: who=me");
    await expect(line).toHaveValue("192.168.0.13:8080/who");
    await line.fill("/nowhere");
    await line.press("Enter");
    await expect(site.locator("body")).toHaveText("no such page");
    await line.fill("node1:81");
    await line.press("Enter");
    await expect(site.locator("body")).toContainText("192.168.0.13:81: Connection refused");
    // A page may try to go out by itself: it gets nowhere.
    await line.fill("node1:8080");
    await line.press("Enter");
    await expect(site.getByRole("heading", { name: "home" })).toBeVisible();
    await site.locator("h1").evaluate(() => {
      location.href = "/who";
    });
    await expect(site.locator("body")).toContainText("The page went elsewhere by a script");
    const own = new URL(page.url()).origin;
    const strangers = requests.filter((url) => !url.startsWith(own) && !/^(data|blob|about):|\.invalid\//.test(url));
    expect(strangers).toEqual([]);
  });
}
