// A panel of OPEN PORT: `<port-page go="N IP:PORT/PATH" root="port/SESSION/">` shows the page at an address, and
// says where it is.
//
// With `root` the page comes through the service worker, into an ordinary frame. Without (none is allowed here)
// this program stands in for the browser's network: it fetches the page over the machines' TCP, puts what the
// page is made of into it as `data:` addresses, and shows it in a sandboxed frame, where `port_frame.js` hands on
// what links, forms and scripts ask for. The frame itself may load nothing (its content security policy sees to
// that) and its base address names no host that exists: what is missing is missing, and is never asked of the
// real network.
//
// Events: `port-address` (where it is), `port-left-out` (what is missing), `port-request` (a request for the
// machines, and the channel its answer comes on).
"use strict";

(() => {
  const HELPER = "port_frame.js";
  const REDIRECTS_MAX = 20;
  const FILE_BYTES_MAX = 16 << 20;
  const PAGE_BYTES_MAX = 64 << 20;
  const POLL_MS = 500;
  const POLICY =
    "default-src data: blob: 'unsafe-inline' 'unsafe-eval'; frame-src 'none'; form-action 'none'";

  const WORDS = {
    en: {
      failed: "The port does not answer",
      outside: "This leads out of the playground",
      script: "The page went elsewhere by a script, and that cannot be followed here",
      file: "Save",
    },
    ko: {
      failed: "포트가 응답하지 않습니다",
      outside: "플레이그라운드 밖으로 나가는 주소입니다",
      script: "페이지가 스크립트로 다른 곳으로 옮겨 갔는데, 여기서는 따라갈 수 없습니다",
      file: "저장",
    },
  };
  const words = () => WORDS[document.documentElement.lang] ?? WORDS.en;

  const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  /** Whether an address is one of the machines' LAN. */
  const inside = (url) => url.protocol === "http:" && /^[\d.]+$/.test(url.hostname);

  /** An address of a page as a URL; null for what is not fetched (`data:`, `#part`, nonsense). */
  const resolve = (address, base) => {
    if (!address || address.startsWith("#")) return null;
    let url;
    try {
      url = new URL(address, base);
    } catch {
      return null;
    }
    if (!/^https?:$/.test(url.protocol)) return null;
    // A machine that speaks of itself.
    if (/^(localhost|127\.0\.0\.1)$/.test(url.hostname)) url.hostname = new URL(base).hostname;
    return url;
  };

  /** The same place on a host that does not exist, for the frame's base. */
  const nowhere = ({ hostname, port, pathname, search }) =>
    `http://${hostname}.${port || 80}.invalid${pathname}${search}`;

  /** All of a response's body. */
  const bytesOf = async ({ body }, max) => {
    const chunks = [];
    let size = 0;
    const reader = body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return new Blob(chunks);
      size += value.length;
      if (size > max) {
        reader.cancel();
        throw new Error(`more than ${max >> 20} MiB`);
      }
      chunks.push(value);
    }
  };

  const typeOf = (response) => response.headers.get("content-type") ?? "application/octet-stream";

  const textOf = async (blob, type) => {
    const bytes = await blob.arrayBuffer();
    const start = new TextDecoder("latin1").decode(bytes.slice(0, 1024));
    const [, charset] = /charset\s*=\s*["']?([\w-]+)/i.exec(type) ?? /charset\s*=\s*["']?([\w-]+)/i.exec(start) ?? [];
    try {
      return new TextDecoder(charset).decode(bytes);
    } catch {
      return new TextDecoder().decode(bytes);
    }
  };

  const dataUrl = (blob, type) =>
    new Promise((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = () => failed(reader.error);
      reader.readAsDataURL(new Blob([blob], { type }));
    });

  /** `text` with each match of `pattern` replaced by what `change` promises. */
  const replaced = async (text, pattern, change) => {
    const matches = [...text.matchAll(pattern)];
    const changed = await Promise.all(matches.map(change));
    let [at, out] = [0, ""];
    matches.forEach((match, n) => {
      out += text.slice(at, match.index) + changed[n];
      at = match.index + match[0].length;
    });
    return out + text.slice(at);
  };

  /** A page on its way into one document. */
  class Assembly {
    /** `get` fetches a URL. */
    constructor(get) {
      this.get = get;
      this.leftOut = new Set();
      this.room = PAGE_BYTES_MAX;
      this.known = new Map();
      this.imports = {};
    }

    /** The content at an address: `{ blob, type, url }`, or null, and then it is noted. */
    load(address, base) {
      const url = resolve(address, base);
      if (!url) return null;
      url.hash = "";
      if (!this.known.has(url.href)) this.known.set(url.href, this.#load(url));
      return this.known.get(url.href);
    }

    async #load(url) {
      try {
        if (!inside(url)) throw new Error(words().outside);
        const response = await this.get(url);
        if (response.status >= 400) throw new Error(String(response.status));
        const blob = await bytesOf(response, Math.min(FILE_BYTES_MAX, this.room));
        this.room -= blob.size;
        return { blob, type: typeOf(response), url: response.url };
      } catch (error) {
        this.leftOut.add(`${url.href}: ${error.message}`);
        return null;
      }
    }

    async data(address, base, type) {
      const loaded = await this.load(address, base);
      return loaded && dataUrl(loaded.blob, type ?? loaded.type);
    }

    /** A style sheet without addresses. */
    async css(text, base, depth = 0) {
      const imported = await replaced(
        text,
        /@import\s+(?:url\(\s*)?["']?([^"')\s;]+)["']?\s*\)?([^;]*);/g,
        async ([, address, media]) => {
          const loaded = depth < 5 ? await this.load(address, base) : null;
          if (!loaded) return "";
          const inner = await this.css(await textOf(loaded.blob, loaded.type), loaded.url, depth + 1);
          return media.trim() ? `@media ${media} {${inner}}` : inner;
        },
      );
      return replaced(imported, /url\(\s*(["']?)([^"')]+)\1\s*\)/g, async ([whole, , address]) => {
        if (!resolve(address, base)) return whole;
        return `url("${(await this.data(address, base)) ?? "data:,"}")`;
      });
    }

    /** A module's text, whose imports name their modules by whole addresses; those go into the import map. */
    module(text, base) {
      const pattern = /(\bfrom\s*|\bimport\s*\(?\s*)(["'])([./][^"'\n]*|https?:[^"'\n]*)\2/g;
      return replaced(text, pattern, async ([whole, before, quote, address]) => {
        const url = resolve(address, base);
        if (!url) return whole;
        await this.addImport(url.href, url);
        return `${before}${quote}${url.href}${quote}`;
      });
    }

    async addImport(name, url) {
      if (name in this.imports) return;
      this.imports[name] = "data:text/javascript,";
      const loaded = await this.load(url.href, url);
      if (!loaded) return;
      const text = await this.module(await textOf(loaded.blob, loaded.type), loaded.url);
      this.imports[name] = await dataUrl(new Blob([text]), "text/javascript");
    }

    /** A whole page as one document. */
    async page(html, url, helper) {
      const doc = new DOMParser().parseFromString(html, "text/html");
      const all = (selector) => [...doc.querySelectorAll(selector)];
      const base = resolve(doc.querySelector("base[href]")?.getAttribute("href"), url) ?? url;
      all("base, meta[http-equiv='content-security-policy' i], link[rel~='preload'], link[rel~='modulepreload'], link[rel~='icon']").forEach((it) => it.remove());
      const [, seconds, target] =
        /^\s*(\d+)[^=]*(?:url\s*=\s*["']?([^"']*))?/i.exec(doc.querySelector("meta[http-equiv='refresh' i]")?.content ?? "") ?? [];
      all("meta[http-equiv='refresh' i]").forEach((it) => it.remove());
      for (const [selector, attribute] of [["a, area", "href"], ["form", "action"], ["button, input", "formaction"]]) {
        for (const it of all(selector)) {
          const to = resolve(it.getAttribute(attribute), base);
          if (to) it.setAttribute(attribute, to.href);
          it.removeAttribute("target");
        }
      }
      const jobs = [];
      const job = (selector, work) => all(selector).forEach((it) => jobs.push(work(it)));
      job("link[rel~='stylesheet' i][href]", async (link) => {
        const loaded = await this.load(link.getAttribute("href"), base);
        const style = doc.createElement("style");
        if (link.media) style.media = link.media;
        if (loaded) style.textContent = await this.css(await textOf(loaded.blob, loaded.type), loaded.url);
        link.replaceWith(style);
      });
      job("style", async (style) => {
        style.textContent = await this.css(style.textContent, base);
      });
      job("[style*='url(' i]", async (it) => {
        it.setAttribute("style", await this.css(it.getAttribute("style"), base));
      });
      for (const attribute of ["src", "poster"]) {
        job(`:is(img, input, video, audio, source, track)[${attribute}]`, async (it) => {
          const data = await this.data(it.getAttribute(attribute), base);
          if (data) it.setAttribute(attribute, data);
        });
      }
      job("[srcset]", async (it) => {
        const [first] = it.getAttribute("srcset").trim().split(/[\s,]+/);
        it.removeAttribute("srcset");
        if (it.matches("img[src]")) return;
        const data = await this.data(first, base);
        if (data) it.setAttribute(it.matches("source") ? "srcset" : "src", data);
      });
      job("script[type='importmap' i]", async (script) => {
        const { imports = {} } = JSON.parse(script.textContent);
        script.remove();
        for (const [name, address] of Object.entries(imports)) {
          const to = resolve(address, base);
          if (to) await this.addImport(name, to);
        }
      });
      job("script:not([type='importmap' i])", async (script) => {
        const [address, isModule] = [script.getAttribute("src"), /^module$/i.test(script.type)];
        script.removeAttribute("integrity");
        script.removeAttribute("crossorigin");
        if (isModule) {
          const loaded = address ? await this.load(address, base) : null;
          const text = loaded ? await textOf(loaded.blob, loaded.type) : script.textContent;
          script.removeAttribute("src");
          script.textContent = await this.module(text, loaded?.url ?? base);
        } else if (address) {
          script.setAttribute("src", (await this.data(address, base, "text/javascript")) ?? "data:,");
        }
      });
      job("iframe[src], frame[src], embed[src], object[data]", async (it) => {
        const address = it.getAttribute("src") ?? it.getAttribute("data");
        if (resolve(address, base)) this.leftOut.add(address);
        it.removeAttribute("src");
        it.removeAttribute("data");
      });
      const failed = (await Promise.allSettled(jobs)).filter(({ reason }) => reason);
      failed.forEach(({ reason }) => this.leftOut.add(reason.message));
      const add = (tag, attributes, text = "") => {
        const it = doc.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
        it.textContent = text;
        return it;
      };
      const head = [
        add("meta", { charset: "utf-8" }),
        add("meta", { "http-equiv": "content-security-policy", content: POLICY }),
        add("base", { href: nowhere(new URL(base)) }),
        add("script", { "data-page": url.href }, helper),
      ];
      if (Object.keys(this.imports).length) {
        head.push(add("script", { type: "importmap" }, JSON.stringify({ imports: this.imports })));
      }
      doc.head.prepend(...head);
      const refresh = seconds && { seconds: Number(seconds), url: resolve(target, base) ?? url };
      return { html: `<!doctype html>${doc.documentElement.outerHTML}`, refresh };
    }
  }

  class PortPage extends HTMLElement {
    static observedAttributes = ["go"];
    #frame = null;
    /** What a visit is compared with when its answer comes: nobody waits for an earlier one. */
    #visits = 0;
    /** The page that is shown, where this program fetched it. */
    #url = null;
    /** The frame's next `load` is of what was put into it; the helper in it has said so. */
    #filled = false;
    #hello = false;
    #timers = [];
    #heard = (event) => this.#message(event);

    connectedCallback() {
      this.#frame = document.createElement("iframe");
      this.#frame.title = this.closest(".panel")?.getAttribute("aria-label") ?? "";
      this.#frame.addEventListener("load", () => this.#loaded());
      this.replaceChildren(this.#frame);
      addEventListener("message", this.#heard);
      // Who put this here listens in a moment.
      setTimeout(() => this.#frame && this.#go());
    }

    disconnectedCallback() {
      removeEventListener("message", this.#heard);
      this.#timers.forEach(clearInterval);
      this.#frame = null;
      this.#visits++;
    }

    attributeChangedCallback() {
      if (this.#frame) this.#go();
    }

    #say(name, detail) {
      this.dispatchEvent(new CustomEvent(`port-${name}`, { detail }));
    }

    #go() {
      const [, address] = this.getAttribute("go")?.match(/^\d+ (.+)$/) ?? [];
      if (!address) return;
      const url = new URL(`http://${address}`);
      const root = this.getAttribute("root");
      if (root === null) return this.#visit({ url });
      // Not over the top: a page that breaks out of frames stays in its panel.
      this.#frame.sandbox =
        "allow-scripts allow-same-origin allow-forms allow-modals allow-downloads allow-popups allow-popups-to-escape-sandbox";
      const { hostname, port, pathname, search, hash } = url;
      this.#frame.src = `${root}${hostname}-${port || 80}${pathname}${search}${hash}`;
      if (!this.#timers.length) this.#timers.push(setInterval(() => this.#look(), POLL_MS));
    }

    /** Looks where the page is that the service worker shows: scripts may move it without loading. */
    #look() {
      let at;
      try {
        at = this.#frame.contentWindow.location;
      } catch {
        return;
      }
      const [, ip, port, path] = at.pathname.match(/\/port\/[^/]+\/([\d.]+)-(\d+)(\/.*)$/) ?? [];
      if (ip) this.#say("address", `${ip}:${port}${path}${at.search}${at.hash}`);
    }

    #loaded() {
      if (this.hasAttribute("root")) return this.#look();
      const known = this.#filled || this.#hello;
      [this.#filled, this.#hello] = [false, false];
      if (!known && this.#url) this.#fail(words().script, this.#url.href);
    }

    // --- Without a service worker ----------------------------------------------------------------

    /** A request for a machine: its response, whose body comes as it is read. */
    async #fetch({ url, method = "GET", headers = [], body = null }) {
      const { port1, port2 } = new MessageChannel();
      const waiting = [];
      let wake = null;
      port1.onmessage = ({ data }) => {
        waiting.push(data);
        wake?.();
      };
      const next = async () => {
        while (!waiting.length) await new Promise((resolve) => (wake = resolve));
        return waiting.shift();
      };
      const request = {
        ip: url.hostname,
        port: Number(url.port || 80),
        method,
        target: url.pathname + url.search,
        headers: [["user-agent", navigator.userAgent], ["accept-language", navigator.languages.join(",")], ...headers],
        body,
      };
      this.#say("request", { request, channel: port2 });
      const first = await next();
      if (!first.Head) throw new Error(first.Failed?.text ?? "");
      let stream = new ReadableStream({
        async pull(controller) {
          const event = await next();
          if (event.Data) {
            controller.enqueue(event.Data.bytes);
            port1.postMessage({ taken: event.Data.bytes.length });
          } else if (event.End) controller.close();
          else controller.error(new Error(event.Failed.text));
        },
        cancel: () => port1.postMessage({ cancel: true }),
      });
      const got = new Headers();
      for (const [name, value] of first.Head.headers) got.append(name, value);
      const coding = got.get("content-encoding")?.trim().toLowerCase();
      if (coding === "gzip" || coding === "deflate") stream = stream.pipeThrough(new DecompressionStream(coding));
      return { url: url.href, status: first.Head.status, headers: got, body: stream };
    }

    /** A request, and where it is redirected to. */
    async #follow(request) {
      for (let n = 0; n < REDIRECTS_MAX; n++) {
        if (!inside(request.url)) throw new Error(`${words().outside}: ${request.url.href}`);
        const response = await this.#fetch(request);
        const to = resolve(response.headers.get("location"), request.url);
        if (!to || response.status < 300 || response.status >= 400) return response;
        response.body.cancel();
        if (!to.hash) to.hash = request.url.hash;
        const { method, headers } = request;
        const again = response.status >= 307 || method === "GET" || method === "HEAD";
        request = again ? { ...request, url: to } : { url: to, headers: headers?.filter(([name]) => !/^content-/i.test(name)) };
      }
      throw new Error(`${REDIRECTS_MAX} redirects`);
    }

    /** Goes to a page. */
    async #visit(request) {
      const visit = ++this.#visits;
      const current = () => visit === this.#visits && this.#frame;
      this.toggleAttribute("data-busy", true);
      const accept = ["accept", "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.8"];
      const referer = this.#url ? [["referer", this.#url.href]] : [];
      try {
        const response = await this.#follow({ ...request, headers: [accept, ...referer, ...(request.headers ?? [])] });
        const url = new URL(response.url);
        const type = typeOf(response);
        if (!current()) return response.body.cancel();
        if (/^(text\/(?!css)|application\/(json|xhtml\+xml|xml))/i.test(type)) await this.#showText(response, url, type, current);
        else await this.#showFile(response, url, type, current);
      } catch (error) {
        if (current()) this.#fail(error.message, request.url.href);
      }
      if (visit === this.#visits) this.removeAttribute("data-busy");
    }

    async #showText(response, url, type, current) {
      const text = await textOf(await bytesOf(response, FILE_BYTES_MAX), type);
      if (!/html/i.test(type)) {
        if (current()) this.#fill(url, `<pre style="white-space:pre-wrap;overflow-wrap:anywhere">${escaped(text)}</pre>`);
        return;
      }
      helperText ??= fetch(HELPER).then((it) => it.text());
      const assembly = new Assembly((of) => this.#follow({ url: of, headers: [["referer", url.href]] }));
      const { html, refresh } = await assembly.page(text, url, await helperText);
      if (!current()) return;
      this.#fill(url, html, [...assembly.leftOut]);
      if (refresh) {
        const later = () => current() && this.#visit({ url: refresh.url });
        this.#timers.push(setTimeout(later, refresh.seconds * 1000));
      }
    }

    async #showFile(response, url, type, current) {
      const blob = await bytesOf(response, PAGE_BYTES_MAX);
      if (!current()) return;
      if (/^image\//i.test(type)) return this.#fill(url, `<img src="${await dataUrl(blob, type)}" style="max-width:100%">`);
      this.#fill(url, "");
      const link = document.createElement("a");
      link.download = decodeURIComponent(url.pathname.split("/").at(-1)) || "file";
      link.href = URL.createObjectURL(new Blob([blob], { type }));
      link.textContent = `${words().file}: ${link.download} (${blob.size} B)`;
      const line = document.createElement("p");
      line.className = "file";
      line.append(link);
      this.prepend(line);
    }

    #fail(text, where) {
      this.#fill(new URL(where), `<h1 style="font:600 1.2rem system-ui">${words().failed}</h1><p style="font:1rem system-ui">${escaped(text)}</p>`);
    }

    #fill(url, html, leftOut = []) {
      this.querySelector(".file")?.remove();
      this.#url = url;
      this.#filled = true;
      this.#frame.sandbox = "allow-scripts allow-forms allow-modals";
      // Everything is in the document; what is not must not be looked for.
      this.#frame.srcdoc = html.startsWith("<!doctype") ? html : `<!doctype html><meta http-equiv="content-security-policy" content="${POLICY}">${html}`;
      this.#say("address", url.href.slice("http://".length));
      this.#say("left-out", leftOut);
    }

    /** What the page in the frame asks for. */
    #message({ source, data, ports: [channel] }) {
      if (!this.#frame || source !== this.#frame.contentWindow || data?.drydock !== "frame") return;
      if (data.visit) this.#visit({ ...data.visit, url: new URL(data.visit.url) });
      else if (data.hello) this.#hello = true;
      else if (data.address) this.#say("address", data.address.slice("http://".length));
      else if (data.fetch) this.#serve({ ...data.fetch, url: new URL(data.fetch.url) }, channel);
    }

    /** A request of a script in the frame. */
    async #serve(request, channel) {
      let reader = null;
      channel.onmessage = () => reader?.cancel();
      try {
        const { status, headers, url, body } = await this.#follow({ ...request, headers: [["referer", this.#url.href], ...request.headers] });
        channel.postMessage({ head: { status, url, headers: [...headers] } });
        reader = body.getReader();
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return channel.postMessage({ end: true });
          channel.postMessage({ chunk: value });
        }
      } catch (error) {
        channel.postMessage({ failed: error.message });
      }
    }
  }

  let helperText = null;
  customElements.define("port-page", PortPage);
})();
