// OPEN PORT: pages that machines serve, through the service worker: assets, links and forms by absolute
// paths, redirects, cookies, large bodies, events as they come.
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, open, screen, type } from "./drive.mjs";

/** A site in a few lines of Python, served by a container. */
const SITE = String.raw`
import http.server, time
HOME = b'''<!doctype html><html><head><meta charset=utf-8><link rel="stylesheet" href="/style.css"></head><body>
<h1>home</h1><a href="/who">who</a><form method="post" action="/echo"><input name="word"><button>send</button></form>
<p id="api"></p><p id="events"></p><script>
fetch("/api?n=1").then(r => r.text()).then(t => api.textContent = t);
const source = new EventSource("/events"); source.onmessage = e => { events.textContent += e.data; if (e.data == "3") source.close() };
</script></body></html>'''
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, kind, body, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        path = self.path
        if path == "/": return self.answer("text/html", HOME)
        if path == "/style.css": return self.answer("text/css", b"h1 { color: rgb(1, 2, 3) }")
        if path == "/api?n=1": return self.answer("text/plain", b"api of " + self.headers["Host"].encode())
        if path == "/large": return self.answer("text/plain", b"0123456789" * 300000)
        if path == "/login": return self.answer("text/plain", b"", 302, Location="/who", Set_Cookie="who=me; Path=/; HttpOnly")
        if path == "/who": return self.answer("text/html", b"<h1>who: %s</h1>" % str(self.headers.get("Cookie")).encode())
        if path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for i in range(4):
                self.wfile.write(b"data: %d\n\n" % i)
                self.wfile.flush()
                time.sleep(0.2)
            self.close_connection = True
            return
        self.answer("text/plain", b"no such page", 404)
    def do_POST(self):
        self.answer("text/html", b"<h1>" + self.rfile.read(int(self.headers["Content-Length"])) + b"</h1>")
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
`;

test("a port's page opens from its chip, with everything it is made of", async ({ page, context }) => {
  await open(page);
  await addInstance(page);
  await page.evaluate((text) => navigator.clipboard.writeText(text), `cat > s.py <<'END'${SITE}END\n`);
  await page.keyboard.press("Shift+Insert");
  await page.keyboard.press("Enter");
  await type(page, "clear; docker run -d -p 8080:8080 -v /root/s.py:/s.py python python3 /s.py");
  // The port is published before the server behind it listens.
  await type(page, "until curl -so /dev/null localhost:8080; do sleep 0.1; done; echo serves-$((4+4))");
  await expectLine(page, "serves-8", { timeout: 90_000 });
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
  await page.getByRole("link", { name: "Open" }).click();
  await expect((await refused).locator("body")).toContainText("192.168.0.13:81: Connection refused");
  await page.keyboard.press("Escape");

  // Without the playground there is nobody to answer, and it is said.
  await screen(page).click();
  await page.close();
  await site.goto(home);
  await expect(site.locator("h1")).toHaveText("The playground is not there");
});
