// In the pages that a panel of OPEN PORT puts together where no service worker is allowed (`port_panel.js` puts it
// there, into a sandboxed frame that may load nothing): what links, forms and scripts ask for goes to the panel.
"use strict";

(() => {
  const page = new URL(document.currentScript.dataset.page);
  const tell = (message, ports = []) => parent.postMessage({ drydock: "frame", ...message }, "*", ports);

  tell({ hello: true });

  /** An address as the page means it: the frame's base names a host that does not exist. */
  const real = (address) => {
    const url = new URL(address, document.baseURI);
    const [, ip, port] = url.hostname.match(/^([\d.]+)\.(\d+)\.invalid$/) ?? [];
    if (ip) url.host = `${ip}:${port}`;
    return url;
  };
  const fetched = (url) => /^https?:$/.test(url.protocol);

  const visit = (address, request = {}) => {
    const url = real(address);
    const here = url.href.split("#")[0] === page.href.split("#")[0];
    if (here && url.hash && !request.method) {
      (document.getElementById(decodeURIComponent(url.hash.slice(1))) ?? document.documentElement).scrollIntoView();
      tell({ address: url.href });
    } else if (fetched(url)) tell({ visit: { ...request, url: url.href } });
  };

  // --- Links and forms ---------------------------------------------------------------------------

  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href], area[href]");
    if (!link || event.defaultPrevented || link.getAttribute("href").startsWith("javascript:")) return;
    event.preventDefault();
    visit(link.getAttribute("href"));
  });

  const submit = async (form, submitter) => {
    const chosen = (name) => submitter?.getAttribute(`form${name}`) ?? form.getAttribute(name);
    const data = new FormData(form, submitter);
    const action = chosen("action") || page.href;
    if ((chosen("method") ?? "get").toLowerCase() === "post") {
      const plain = [...data].every(([, value]) => typeof value === "string");
      const multipart = /multipart/i.test(chosen("enctype") ?? "") || !plain;
      const whole = new Response(multipart ? data : new URLSearchParams(data));
      const headers = [["content-type", whole.headers.get("content-type")]];
      return visit(action, { method: "POST", headers, body: await whole.arrayBuffer() });
    }
    const url = real(action);
    url.search = new URLSearchParams([...data].map(([name, value]) => [name, value.name ?? value])).toString();
    url.hash = "";
    tell({ visit: { url: url.href } });
  };
  addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    submit(event.target, event.submitter);
  });
  HTMLFormElement.prototype.submit = function () {
    submit(this, null);
  };
  window.open = (address) => {
    if (address) visit(address);
    return null;
  };

  // --- What scripts fetch ------------------------------------------------------------------------

  const ownFetch = window.fetch.bind(window);
  window.fetch = async (input, init) => {
    const url = real(input instanceof Request ? input.url : input);
    if (!fetched(url)) return ownFetch(input, init);
    const request = input instanceof Request ? new Request(input, init) : new Request(url, init);
    request.signal.throwIfAborted();
    const bodiless = request.method === "GET" || request.method === "HEAD";
    const body = bodiless ? null : await request.arrayBuffer();
    const { port1, port2 } = new MessageChannel();
    const { method } = request;
    tell({ fetch: { url: url.href, method, headers: [...request.headers], body } }, [port2]);
    return new Promise((resolve, reject) => {
      let stream = null;
      const cancel = () => port1.postMessage("cancel");
      const answer = new ReadableStream({ start: (controller) => (stream = controller), cancel });
      request.signal.addEventListener("abort", () => {
        cancel();
        reject(request.signal.reason);
      });
      port1.onmessage = ({ data: { head, chunk, end, failed } }) => {
        if (head) {
          const { status, headers } = head;
          const empty = [204, 205, 304].includes(status) || method === "HEAD";
          const response = new Response(empty ? null : answer, { status, headers });
          Object.defineProperty(response, "url", { value: head.url });
          resolve(response);
        } else if (chunk) stream.enqueue(chunk);
        else if (end) stream.close();
        else {
          const error = new TypeError(failed);
          reject(error);
          stream.error(error);
        }
      };
    });
  };

  /** As much of XMLHttpRequest as can be had over `fetch`: no synchronous requests. */
  window.XMLHttpRequest = class XMLHttpRequest extends EventTarget {
    readyState = 0;
    status = 0;
    statusText = "";
    response = "";
    responseText = "";
    responseType = "";
    responseURL = "";
    withCredentials = false;
    timeout = 0;
    upload = new EventTarget();
    #request = null;
    #headers = new Headers();
    #got = new Headers();
    #ended = new AbortController();

    #step(state, ...names) {
      this.readyState = state;
      for (const name of ["readystatechange", ...names]) {
        const event = new ProgressEvent(name);
        this[`on${name}`]?.(event);
        this.dispatchEvent(event);
      }
    }
    open(method, address) {
      this.#request = { method, url: real(address) };
      this.#step(1);
    }
    setRequestHeader(name, value) {
      this.#headers.append(name, value);
    }
    getResponseHeader(name) {
      return this.#got.get(name);
    }
    getAllResponseHeaders() {
      return [...this.#got].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    }
    overrideMimeType() {}
    abort() {
      this.#ended.abort();
    }
    async send(body = null) {
      const { method, url } = this.#request;
      const { signal } = this.#ended;
      try {
        const response = await fetch(url, { method, headers: this.#headers, body, signal });
        this.status = response.status;
        this.responseURL = response.url;
        this.#got = response.headers;
        this.#step(2);
        const kind = { arraybuffer: "arrayBuffer", blob: "blob" }[this.responseType];
        if (kind) this.response = await response[kind]();
        else {
          this.responseText = await response.text();
          this.response = this.responseText;
        }
        if (this.responseType === "json") this.response = JSON.parse(this.responseText || "null");
        this.#step(3, "progress");
        this.#step(4, "load", "loadend");
      } catch {
        this.status = 0;
        this.#step(4, signal.aborted ? "abort" : "error", "loadend");
      }
    }
  };

  /** Server-Sent Events over `fetch`. */
  window.EventSource = class EventSource extends EventTarget {
    readyState = 0;
    #ended = new AbortController();
    #last = "";
    #retry_ms = 3000;

    constructor(address) {
      super();
      this.url = real(address).href;
      this.#run();
    }
    close() {
      this.readyState = 2;
      this.#ended.abort();
    }
    #fire(event) {
      this[`on${event.type}`]?.(event);
      this.dispatchEvent(event);
    }
    async #run() {
      while (this.readyState !== 2) {
        try {
          await this.#listen();
        } catch {
          // Tried again below, as browsers do.
        }
        if (this.readyState === 2) return;
        this.readyState = 0;
        this.#fire(new Event("error"));
        await new Promise((resolve) => setTimeout(resolve, this.#retry_ms));
      }
    }
    async #listen() {
      const headers = { accept: "text/event-stream", ...(this.#last && { "last-event-id": this.#last }) };
      const response = await fetch(this.url, { headers, signal: this.#ended.signal });
      if (response.status !== 200) return this.close();
      this.readyState = 1;
      this.#fire(new Event("open"));
      let [text, type, data] = ["", "message", []];
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const lines = (text + value).split(/\r\n|\n|\r/);
        text = lines.pop();
        for (const line of lines) {
          const [, field, content = ""] = line.match(/^([^:]*)(?:: ?(.*))?$/);
          if (field === "data") data.push(content);
          else if (field === "event") type = content;
          else if (field === "id") this.#last = content;
          else if (field === "retry") this.#retry_ms = Number(content) || this.#retry_ms;
          else if (line === "" && data.length) {
            this.#fire(new MessageEvent(type, { data: data.join("\n"), lastEventId: this.#last }));
            [type, data] = ["message", []];
          }
        }
      }
    }
  };

  // --- What a sandboxed page does not have --------------------------------------------------------

  const storage = () => {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(String(key)) ?? null,
      setItem: (key, value) => void kept.set(String(key), String(value)),
      removeItem: (key) => void kept.delete(String(key)),
      clear: () => kept.clear(),
      key: (index) => [...kept.keys()][index] ?? null,
      get length() {
        return kept.size;
      },
    };
  };
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(window, name, { value: storage(), configurable: true });
  }
  // Cookies of servers are kept with the playground; scripts see their own.
  const cookies = new Map();
  Object.defineProperty(document, "cookie", {
    get: () => [...cookies].map((pair) => pair.join("=")).join("; "),
    set: (text) => {
      const [, name, value] = String(text).match(/^\s*([^=;]+)=([^;]*)/) ?? [];
      if (name) cookies.set(name, value);
    },
  });
  for (const name of ["pushState", "replaceState"]) {
    history[name] = (state, title, address) => address && tell({ address: real(address).href });
  }

  // Images that scripts add or change.
  const show = async (image) => {
    const address = image.getAttribute("src");
    if (!address || !fetched(real(address))) return;
    const response = await fetch(address);
    if (response.ok) image.src = URL.createObjectURL(await response.blob());
  };
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "attributes" && target.matches("img")) show(target);
      for (const node of addedNodes) {
        if (node.matches?.("img[src]")) show(node);
        node.querySelectorAll?.("img[src]").forEach(show);
      }
    }
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
})();
