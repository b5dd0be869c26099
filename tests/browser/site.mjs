// The site that the tests of OPEN PORT look at: assets, a form, a login, events, large bodies.
import { expect } from "@playwright/test";
import { expectLine, type } from "./drive.mjs";

/** A site in a few lines of Python, served by a container. */
const SITE = String.raw`
import http.server, time
HOME = b'''<!doctype html><html><head><meta charset=utf-8><link rel="stylesheet" href="/style.css"></head><body>
<h1>home</h1><a href="/who">who</a><form method="post" action="/echo"><input name="word"><button>send</button></form>
<img src="/image.svg" alt="picture"><p id="api"></p><p id="events"></p><p id="module"></p><p id="xhr"></p>
<a href="#end">end</a><script src="/classic.js"></script><script type="module" src="/module.js"></script><script>
const request = new XMLHttpRequest(); request.onload = () => xhr.textContent = request.status + request.responseText;
request.open("GET", "/api?n=1"); request.send();
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
        if path == "/style.css": return self.answer("text/css", b"@import '/more.css'; h1 { color: rgb(1, 2, 3) }")
        if path == "/more.css": return self.answer("text/css", b"h1 { background-image: url(image.svg) }")
        if path == "/image.svg": return self.answer("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' width='37' height='21'/>")
        if path == "/classic.js": return self.answer("text/javascript", b"document.title = 'titled by a script'")
        if path == "/module.js": return self.answer("text/javascript", b"import { word } from './dep.js'; document.querySelector('#module').textContent = word")
        if path == "/dep.js": return self.answer("text/javascript", b"export const word = 'imported'")
        if path == "/api?n=1": return self.answer("text/plain", b"api of " + self.headers["Host"].encode())
        if path == "/large": return self.answer("text/plain", b"0123456789" * 300000)
        if path == "/login": return self.answer("text/plain", b"", 302, Location="/who", Set_Cookie="who=me; Path=/; HttpOnly")
        if path == "/frameless": return self.answer("text/html", b"<h1>frameless</h1>", X_Frame_Options="DENY", Content_Security_Policy="frame-ancestors 'none'")
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

/** Serves it from a container, at port 8080 of the instance that is shown, and at `more` ports. */
export const serveSite = async (page, more = []) => {
  await page.evaluate((text) => navigator.clipboard.writeText(text), `cat > s.py <<'END'${SITE}END\n`);
  await page.keyboard.press("Shift+Insert");
  await page.keyboard.press("Enter");
  const publish = [8080, ...more].map((port) => `-p ${port}:8080`).join(" ");
  await type(page, `clear; docker run -d ${publish} -v /root/s.py:/s.py python python3 /s.py`);
  // The port is published before the server behind it listens.
  await type(page, "until curl -so /dev/null localhost:8080; do sleep 0.1; done; echo serves-$((4+4))");
  await expectLine(page, "serves-8", { timeout: 90_000 });
  await expect(page.getByRole("button", { name: "8080", exact: true })).toBeVisible();
};
