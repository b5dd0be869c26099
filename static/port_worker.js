// The service worker of OPEN PORT: pages below `port/SESSION/IP-PORT/` come from machines.
//
// It knows no machine. Each request goes to the page whose playground has the session's name, over a
// channel on which the answer comes back piece by piece. A page of a machine may name its own things by
// absolute paths: those requests come here too, because this worker controls the page, and are taken
// to the port the page came from.
"use strict";

const FOLDER = new URL("./", self.location.href);
const PREFIX = `${FOLDER.pathname}port/`;
/** What is put into HTML so that links and forms with absolute paths stay at their port. */
const HELPER = new URL("port_page.js", FOLDER).pathname;
/** How long the page may take to say that a session is its own. */
const ACCEPT_MS = 5_000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** The port an address means, and the path there; null for other addresses. */
const portOf = (url) => {
  const { origin, pathname, search } = new URL(url);
  if (origin !== self.location.origin || !pathname.startsWith(PREFIX)) return null;
  const [, session, ip, port, path] =
    pathname.slice(PREFIX.length).match(/^([^/]+)\/([\d.]+)-(\d+)(\/.*)?$/) ?? [];
  return session && { session, ip, port: Number(port), path, search };
};

const rootOf = ({ session, ip, port }) => `${PREFIX}${session}/${ip}-${port}`;

/** The ports that pages came from, by the page's id: for requests that tell no referrer. */
const pages = new Map();

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin || url.pathname === HELPER) return;
  const at = portOf(request.url);
  if (at) {
    if (event.resultingClientId) pages.set(event.resultingClientId, at);
    event.respondWith(at.path ? answer(request, at) : Response.redirect(`${rootOf(at)}/`, 301));
    return;
  }
  const from = (request.referrer && portOf(request.referrer)) || pages.get(event.clientId);
  if (from) event.respondWith(answer(request, { ...from, path: url.pathname, search: url.search }));
});

/** What our own pages say, in the browser's language as far as we speak it. */
const WORDS = {
  en: {
    gone: "The playground is not there",
    goneDetail: "The tab with this machine has been closed or loaded anew. Open the port from the playground again.",
    silent: "The port does not answer",
    closed: "the connection was closed",
  },
  ko: {
    gone: "플레이그라운드가 없습니다",
    goneDetail: "이 머신이 있던 탭이 닫혔거나 새로 열렸습니다. 플레이그라운드에서 포트를 다시 여세요.",
    silent: "포트가 응답하지 않습니다",
    closed: "연결이 닫혔습니다",
  },
};
const words = WORDS[/^ko\b/i.test(self.navigator.language) ? "ko" : "en"];

/** A page of our own about what went wrong. */
const failure = (status, title, text) => {
  const safe = text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  const body = `<!doctype html><meta charset="utf-8"><title>${title}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>
<h1>${title}</h1><p>${safe}</p>`;
  return new Response(body, { status, headers: { "content-type": "text/html; charset=utf-8" } });
};

/** Sends a request to the playground and gives the machine's response. */
const answer = async (request, at) => {
  const bodiless = request.method === "GET" || request.method === "HEAD";
  const message = {
    drydock: "port",
    session: at.session,
    request: {
      ip: at.ip,
      port: at.port,
      method: request.method,
      target: at.path + (at.search ?? ""),
      headers: [...request.headers],
      body: bodiless ? null : await request.arrayBuffer(),
    },
  };
  const channel = await playgroundOf(message);
  if (!channel) {
    return failure(502, words.gone, words.goneDetail);
  }
  const first = await next(channel);
  if (!first.Head) {
    return failure(502, words.silent, first.Failed?.text ?? words.closed);
  }
  return response(request, at, first.Head, channel);
};

/** The next event on a channel. */
const next = (channel) =>
  new Promise((resolve) => {
    const take = () => resolve(channel.waiting.shift());
    if (channel.waiting.length) take();
    else channel.wake = take;
  });

/** Finds the page that has the session: it says so on the channel, before anything else. */
const playgroundOf = async (message) => {
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const tries = all
    .filter((client) => !portOf(client.url))
    .map(
      (client) =>
        new Promise((accept, refuse) => {
          const { port1, port2 } = new MessageChannel();
          const channel = { port: port1, waiting: [], wake: null };
          port1.onmessage = ({ data }) => {
            if (data.accepted) return accept(channel);
            channel.waiting.push(data);
            channel.wake?.();
            channel.wake = null;
          };
          client.postMessage(message, [port2]);
          setTimeout(refuse, ACCEPT_MS);
        }),
    );
  return Promise.any(tries).catch(() => null);
};

/** The response, whose body comes as it is read. */
const response = (request, at, { status, headers }, channel) => {
  const given = new Headers();
  for (const [name, value] of headers) {
    // The body is already unchunked, and the connection is not the browser's.
    if (!/^(connection|transfer-encoding|keep-alive)$/i.test(name)) given.append(name, value);
  }
  // A page that wants to be in nobody's frame is shown in our panel all the same: that is a window to it.
  if (request.destination === "iframe") {
    if (/^\s*deny\b/i.test(given.get("x-frame-options") ?? "")) given.set("x-frame-options", "SAMEORIGIN");
    const policy = given.get("content-security-policy");
    if (policy) given.set("content-security-policy", policy.replace(/frame-ancestors[^;,]*/gi, "frame-ancestors 'self'"));
  }
  const location = given.get("location");
  if (location && status >= 300 && status < 400) {
    channel.port.postMessage({ cancel: true });
    return Response.redirect(there(location, at), [301, 302, 303, 307, 308].includes(status) ? status : 302);
  }
  const empty = [101, 204, 205, 304].includes(status) || request.method === "HEAD";
  if (empty) return new Response(null, { status: status < 200 ? 502 : status, headers: given });
  let body = new ReadableStream({
    async pull(controller) {
      const event = await next(channel);
      if (event.Data) {
        controller.enqueue(event.Data.bytes);
        channel.port.postMessage({ taken: event.Data.bytes.length });
      } else if (event.End) {
        controller.close();
      } else {
        controller.error(new Error(event.Failed.text));
      }
    },
    cancel: () => channel.port.postMessage({ cancel: true }),
  });
  // A browser decodes what comes from the network, not what a service worker makes.
  const coding = given.get("content-encoding")?.trim().toLowerCase();
  if (coding === "gzip" || coding === "deflate") {
    body = body.pipeThrough(new DecompressionStream(coding));
    given.delete("content-encoding");
    given.delete("content-length");
  }
  if (request.mode === "navigate" && /^text\/html\b/i.test(given.get("content-type") ?? "")) {
    body = body.pipeThrough(withHelper());
    given.delete("content-length");
  }
  return new Response(body, { status, headers: given });
};

/** Where a redirect of a machine leads: another port of the playground, or what it says. */
const there = (location, at) => {
  const url = new URL(location, `http://${at.ip}:${at.port}${at.path}`);
  if (url.protocol !== "http:") return url.href;
  const own = url.hostname === "localhost" || url.hostname === "127.0.0.1";
  const ip = own ? at.ip : url.hostname;
  if (!/^[\d.]+$/.test(ip)) return url.href;
  const port = Number(url.port || 80);
  return `${self.location.origin}${rootOf({ ...at, ip, port })}${url.pathname}${url.search}${url.hash}`;
};

/** Puts the helper into the head of an HTML page, where its first piece shows one. */
const withHelper = () => {
  let first = true;
  return new TransformStream({
    transform(chunk, controller) {
      if (!first) return controller.enqueue(chunk);
      first = false;
      // A character for each byte: positions are the same.
      const text = new TextDecoder("latin1").decode(chunk);
      const found = /<head[^>]*>/i.exec(text) ?? /<html[^>]*>/i.exec(text) ?? /<!doctype[^>]*>/i.exec(text);
      const position = found ? found.index + found[0].length : 0;
      controller.enqueue(chunk.subarray(0, position));
      controller.enqueue(new TextEncoder().encode(`<script src="${HELPER}"></script>`));
      controller.enqueue(chunk.subarray(position));
    },
  });
};
