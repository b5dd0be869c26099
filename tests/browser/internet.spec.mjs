// The Internet that is not there: a hint, once; and the gateway that lets plain HTTP out, within CORS.
import { createServer } from "node:http";
import { expect, test } from "@playwright/test";
import { addInstance, closeDialog, expectLine, lines, open, type } from "./drive.mjs";

/** Servers on loopback that stand for ones of the Internet: one lets other sites' pages read it, one does not. */
const [OPEN, CLOSED] = [38471, 38472];

const open_to_all = createServer((request, response) => {
  response.writeHead(request.url === "/missing" ? 404 : 200, {
    "access-control-allow-origin": "*",
    "content-type": "text/plain",
  });
  response.end(`${request.method} ${request.url} ${request.headers.cookie ?? "no cookie"}\n`);
});
const closed = createServer((request, response) => response.end("secret\n"));

test.beforeAll(() => {
  open_to_all.listen(OPEN, "127.0.0.1");
  closed.listen(CLOSED, "127.0.0.1");
});
test.afterAll(() => {
  for (const server of [open_to_all, closed]) {
    server.closeAllConnections();
    server.close();
  }
});

const rules =
  `MAP open.example:80 127.0.0.1:${OPEN}, MAP closed.example:80 127.0.0.1:${CLOSED}, ` +
  "MAP *.example ~NOTFOUND";
test.use({
  launchOptions: {
    executablePath: process.env.CHROMIUM,
    args: [`--host-resolver-rules=${rules}`, ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])],
  },
});

const notice = (page) => page.locator(".notice");

const switchGateway = async (page, on) => {
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("checkbox", { name: /Gateway to the Internet/ }).setChecked(on);
  await closeDialog(page);
  await page.locator(".screen:visible .xterm-screen").click();
};

test("a name of the Internet is explained once", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "curl -sS http://open.example/; echo status $?");
  await expectLine(page, "status 6");
  await expect(notice(page)).toContainText("open.example is on the Internet");
  await expect(notice(page)).toContainText("`apt-get`, `pip` and `npm install`");
  await notice(page).getByRole("button").click();
  await page.locator(".screen:visible .xterm-screen").click();
  await type(page, "curl -sS http://closed.example/; echo again $?");
  await expectLine(page, "again 6");
  await expect(notice(page)).toHaveCount(0);
});

test("the gateway lets plain HTTP out to servers that allow it", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await switchGateway(page, true);
  await type(page, "clear; curl -s http://open.example/a?b -w 'status %{http_code}\\n'");
  await expectLine(page, "GET /a?b no cookie");
  await expectLine(page, "status 200");
  await type(page, "clear; curl -s -o /dev/null -w 'missing %{http_code}\\n' http://open.example/missing");
  await expectLine(page, "missing 404");

  await type(page, "clear; curl -s http://closed.example/ -w 'refused %{http_code}\\n'");
  await expectLine(page, "refused 502");
  expect((await lines(page)).join("\n")).toContain("CORS refused http://closed.example/");
  await type(page, "clear; curl -s http://nobody.example/ -w 'nobody %{http_code}\\n'");
  await expectLine(page, "nobody 502");
  expect((await lines(page)).join("\n")).toContain("nobody.example cannot be reached");

  await type(page, "clear; curl -sS https://open.example/; echo tls $?");
  await expectLine(page, "tls 35");
  await expect(notice(page)).toContainText("Type http:// instead");

  await page.reload();
  await expect(page.locator(".status.ready")).toBeVisible();
  await addInstance(page);
  await type(page, "curl -s http://open.example/kept");
  await expectLine(page, "GET /kept no cookie");
  await switchGateway(page, false);
  // Names are remembered for some seconds.
  await expect(async () => {
    await type(page, "clear; curl -sS http://other.example/; echo off $?");
    await expectLine(page, "off 6", { timeout: 5_000 });
  }).toPass();
});

test("apt installs from the page's own folder, wherever that is", async ({ page }) => {
  await open(page, process.env.DRYDOCK_DEEP_URL);
  await addInstance(page);
  await type(page, "apt-get -qq update; apt-get -qq install -y hello >log 2>&1; clear; hello");
  await expectLine(page, "Hello, world!", { timeout: 90_000 });
  await expect(notice(page)).toHaveCount(0);
});
