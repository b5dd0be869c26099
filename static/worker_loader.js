// The worker's outer half: everything of the browser that is asynchronous.
//
// It loads the worker's program, counts the bytes for the page's progress bar, passes messages
// on, calls for turns, does the downloads, and saves and restores playgrounds (`saved.js`). The
// program is plain calls and integers: no promise, timer or stream is ever stored in its memory,
// so its memory is the whole state of the machines (design decision 6).
//
// A classic script, beside `worker.js` and `worker_bg.wasm` as Trunk writes them; every address
// is relative to it.
"use strict";

/** Size of worker_bg.wasm, which no header tells when it comes compressed, and its digest;
 * `cargo xtask stage` writes them here. 0 is unknown. */
const PROGRAM_BYTES = 0;
const PROGRAM_DIGEST = "";

/** The program's functions, once it is there, and what its module exports. */
let worker = null;
let exports = null;
/** Messages that came before. */
const early = [];
/** Set when the program has panicked: it must not be called again. */
let dead = false;

/** Posts to the page; `bytes` is given away. */
const post = (text, bytes) => {
  if (bytes) self.postMessage([text, bytes], [bytes.buffer]);
  else self.postMessage([text]);
};

const progress = (what, done, total) =>
  post(JSON.stringify({ Progress: { what, done_bytes: done, total_bytes: total } }));

/** What the panic hook said before the trap that follows it. */
let panic = "";

/** Why something trapped: the panic's text, or of a trap without one (endless recursion, no memory
 * left) the engine's own words. */
const causeOf = (error) => {
  const text = panic || String(error?.stack ?? error);
  panic = "";
  return text;
};

/** Calls the program. A trap that gets this far was not a machine's own: it ends the program. */
const call = (body) => {
  if (dead || !worker) return undefined;
  try {
    return body(worker);
  } catch (error) {
    dead = true;
    post(JSON.stringify({ Panicked: { text: causeOf(error) } }));
    throw error;
  }
};

// --- Turns -------------------------------------------------------------------------------------

// A message to ourselves comes after what is waiting, without the 4 ms that timers wait.
const channel = new MessageChannel();
let queued = false;
let timer = 0;

const wake = () => {
  if (queued) return;
  queued = true;
  clearTimeout(timer);
  channel.port2.postMessage(0);
};

channel.port1.onmessage = () => {
  queued = false;
  const delay = call((program) => program.turn());
  if (delay === 0) wake();
  else if (delay > 0) timer = setTimeout(wake, Math.min(delay, 2 ** 31 - 1));
};

// --- Downloads ---------------------------------------------------------------------------------

/** Name of the browser cache that keeps blobs. They are named by digest and never change. */
const CACHE = "drydock-blobs";

/** The cache, or null where the page's origin has none (plain HTTP from another machine). */
const openCache = async () => {
  try {
    return await self.caches.open(CACHE);
  } catch {
    return null;
  }
};

/** The key a range is kept under: the cache itself refuses partial answers. */
const cacheKey = (url, range) => {
  const key = new URL(url);
  if (range) key.searchParams.set("drydock-range", range);
  return key.href;
};

/** Reads a body chunk by chunk, telling how far it is; of how many bytes is 0 if unknown. */
const readBody = async (response, told, known = 0) => {
  // A compressed body says how long it is before decompression.
  const encoded = response.headers.has("content-encoding");
  const total = known || (encoded ? 0 : Number(response.headers.get("content-length") ?? 0));
  const reader = response.body?.getReader();
  const chunks = [];
  let done = 0;
  for (;;) {
    const { value, done: end } = (await reader?.read()) ?? { done: true };
    if (end) break;
    chunks.push(value);
    done += value.length;
    told(done, total);
  }
  const whole = new Uint8Array(done);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
};

/** Downloads that have been asked for and not answered: what `fetch_start` was called with. */
const running = new Map();

/** One download: from the cache if it is there, else from the network and into the cache. */
const download = async (id, path, range, immutable) => {
  const url = new URL(path, self.location.href).href;
  const cache = immutable ? await openCache() : null;
  const key = cacheKey(url, range);
  const kept = await cache?.match(key);
  if (kept) {
    const status = Number(kept.headers.get("x-drydock-status"));
    return [status, new Uint8Array(await kept.arrayBuffer())];
  }
  const response = await fetch(url, { headers: range ? { range } : {} });
  const told = (done, total) => call((program) => program.fetch_progress(id, done, total));
  const body = await readBody(response, told);
  if (cache && response.ok) {
    const headers = { "x-drydock-status": String(response.status) };
    // A full disk only means that the next visit downloads again.
    cache.put(key, new Response(body, { headers })).catch(() => {});
  }
  return [response.status, body];
};

/** What the program calls; see `src/bin/worker/main.rs`. */
self.drydock = {
  post,
  panicked(text) {
    panic = text;
  },
  /** The wall around a machine. A trap leaves the frames it ended where they are, also on the
   * program's own stack in its memory: that is set back to where it was. */
  guarded(body) {
    const top = exports.__stack_pointer.value;
    try {
      body();
      return undefined;
    } catch (error) {
      exports.__stack_pointer.value = top;
      return causeOf(error);
    }
  },
  now_ms: () => performance.timeOrigin + performance.now(),
  fetch_start(id, path, range, immutable) {
    running.set(id, [id, path, range, immutable]);
    const answer = (body) => {
      running.delete(id);
      call(body);
      wake();
    };
    download(id, path, range, immutable).then(
      ([status, body]) => answer((program) => program.fetched(id, status, body)),
      (error) => answer((program) => program.fetch_failed(id, String(error))),
    );
  },
  save(page, to_file) {
    toSave = [page, to_file];
  },
};

// --- The way out -------------------------------------------------------------------------------

/** Bytes of an answer that go into the program's memory at most. */
const ANSWER_BYTES_MAX = 64 * 2 ** 20;

/** A request of a program, by HTTPS first: a page that came by HTTPS may ask no other way, and one
 * that did not may try again only where asking twice does no harm. */
const sendOut = async ({ method, address, headers }, body) => {
  const safe = method === "GET" || method === "HEAD";
  const plain = self.location.protocol === "http:" && safe;
  const urls = (plain ? ["https:", "http:"] : ["https:"]).map((scheme) => `${scheme}//${address}`);
  const options = { credentials: "omit", referrerPolicy: "no-referrer" };
  let failure = "";
  for (const url of urls) {
    try {
      const sent = { ...options, method, headers, body: safe ? undefined : body };
      const response = await fetch(url, sent);
      const answer = await readBody(response, (done) => {
        if (done > ANSWER_BYTES_MAX) throw new Error(`more than ${ANSWER_BYTES_MAX} bytes`);
      });
      return [{ Answered: { status: response.status, headers: [...response.headers] } }, answer];
    } catch (error) {
      failure = String(error?.message ?? error);
    }
  }
  // The browser does not tell why. Who is there but may not be read answers a request whose
  // answer nobody sees.
  for (const url of urls) {
    const seen = await fetch(url, { ...options, mode: "no-cors" }).catch(() => null);
    if (seen) return ["Cors", new Uint8Array()];
  }
  return [{ Unreachable: { text: failure } }, new Uint8Array()];
};

self.drydock.internet_start = (text, body) => {
  const request = JSON.parse(text);
  sendOut(request, body).then(([answer, bytes]) => {
    call((program) => program.internet_answer(request.id, JSON.stringify(answer), bytes));
    wake();
  });
};

// --- Ports -------------------------------------------------------------------------------------

/** Where answers to requests for ports go, by the request's number. */
const channels = new Map();
let lastRequest = 0;

/** A request of the service worker for a port, with the channel for the answer. */
const openPort = ({ body, ...request }, channel) => {
  const id = ++lastRequest;
  channels.set(id, channel);
  channel.onmessage = ({ data }) => {
    if (data.cancel) {
      channels.delete(id);
      call((program) => program.port_cancel(id));
    } else {
      call((program) => program.port_taken(id, data.taken));
    }
    wake();
  };
  call((program) => program.port_request(id, JSON.stringify(request), new Uint8Array(body ?? 0)));
  wake();
};

self.drydock.port_event = (text, bytes) => {
  const event = JSON.parse(text);
  const [[kind, value]] = Object.entries(event);
  const channel = channels.get(value.id);
  if (kind === "Data") value.bytes = bytes;
  channel?.postMessage(event, bytes ? [bytes.buffer] : []);
  if (kind === "End" || kind === "Failed") channels.delete(value.id);
};

// --- Images in and out -------------------------------------------------------------------------

/** Bytes of an archive that are read at a time. */
const PIECE = 1 << 20;

/** Archives that are being loaded, by transfer: what to call when the program wants the next piece (true) or
 * no more (false). And the pieces of images that are on their way out. */
const givers = new Map();
const pieces = new Map();

/** Gives the program a file piece by piece, as it takes them: no more of it is ever in memory. */
const loadImages = async ({ name, id }, file) => {
  const giver = { over: false, call: null };
  givers.set(id, giver);
  const wanted = () =>
    new Promise((next) => {
      if (giver.over) next(false);
      else giver.call = next;
    });
  try {
    let next = wanted();
    call((program) => program.load_images(id, name));
    wake();
    for (let at = 0; at < file.size && (await next); at += PIECE) {
      const bytes = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      next = wanted();
      call((program) => program.load_piece(id, bytes));
      wake();
    }
    if (await next) call((program) => program.load_piece(id, new Uint8Array()));
  } catch (error) {
    call((program) => program.transfer_failed(id, String(error?.message ?? error)));
  }
  givers.delete(id);
  wake();
};

self.drydock.transfer_wanted = (id) => givers.get(id)?.call?.(true);

self.drydock.transfer_piece = (id, bytes) => {
  if (!pieces.has(id)) pieces.set(id, []);
  // A blob is the browser's, which keeps large ones on the disk.
  pieces.get(id).push(new Blob([bytes]));
  // Not at once: the program is in the middle of this call.
  queueMicrotask(() => {
    call((program) => program.piece_taken(id));
    wake();
  });
};

self.drydock.transfer_over = (id, well) => {
  const giver = givers.get(id);
  if (giver) giver.over = true;
  giver?.call?.(false);
  const image = pieces.get(id);
  pieces.delete(id);
  if (!image || !well) return;
  const file = new Blob(image, { type: "application/x-tar" });
  self.postMessage([JSON.stringify({ ImageFile: { id } }), file]);
};

// --- Saving and restoring ----------------------------------------------------------------------

/** What `save` was called with, until the program is at rest. */
let toSave = null;

const saving = (done, total) =>
  post(JSON.stringify({ Saving: { done_bytes: done, total_bytes: total } }));

/** Copies the program's memory, at rest, and saves the copy while the program goes on. */
const save = async ([page, toFile]) => {
  const place = toFile ? "File" : "Browser";
  try {
    const memory = exports.memory.buffer.slice(0);
    const header = {
      program: PROGRAM_DIGEST,
      saved_ms: Date.now(),
      memory_bytes: memory.byteLength,
      table_length: exports.__wbindgen_externrefs.length,
      downloads: [...running.values()],
      page,
    };
    const file = await self.saved.save(header, memory, toFile, saving);
    const text = JSON.stringify({ Saved: { place } });
    self.postMessage(file ? [text, file] : [text]);
  } catch (error) {
    post(JSON.stringify({ NotSaved: { place, text: String(error?.message ?? error) } }));
  }
};

/** Fills the program's memory from a file, or from what this browser keeps. */
const restore = async ({ place, ours }, chosen) => {
  const refuse = (why) => post(JSON.stringify({ NotRestored: { place, why } }));
  const file = chosen ?? (await self.saved.kept(ours));
  if (!file) return refuse(null);
  try {
    const header = await self.saved.load(file, exports, PROGRAM_DIGEST, saving);
    post(JSON.stringify({ Restored: { page: header.page } }));
    call((program) => program.restored());
    header.downloads.forEach((download) => self.drydock.fetch_start(...download));
    wake();
  } catch (error) {
    const why = error instanceof self.saved.Refused ? error.why : undefined;
    refuse(why ?? { Unreadable: { text: String(error?.message ?? error) } });
  }
};

// --- Start -------------------------------------------------------------------------------------

const take = ([text, beside, channel]) => {
  if (text.startsWith('{"Restore"')) {
    restore(JSON.parse(text).Restore, beside);
    return;
  }
  if (text.startsWith('{"LoadImages"')) {
    loadImages(JSON.parse(text).LoadImages, beside);
    return;
  }
  if (text === '"Port"') {
    openPort(beside, channel);
    return;
  }
  if (text === '"Forget"') {
    self.saved.forget().finally(() => post('"Forgotten"'));
    return;
  }
  call((program) => program.message(text, beside));
  if (toSave) save(toSave);
  toSave = null;
  wake();
};

self.onmessage = ({ data }) => {
  if (worker) take(data);
  else early.push(data);
};

const start = async () => {
  // On its way while the script below is loaded and run.
  const fetching = fetch("worker_bg.wasm");
  // Declares `wasm_bindgen`, as a name of the scope rather than a property of it.
  self.importScripts("worker.js", "saved.js");
  const response = await fetching;
  if (!response.ok) throw new Error(`worker_bg.wasm: HTTP status ${response.status}`);
  // The original goes to the compiler, which caches code only for responses of the network; the
  // copy is counted.
  const counted = response.clone();
  const loaded = wasm_bindgen({ module_or_path: response });
  const told = (done, total) => progress("engine", done, total);
  const { length } = await readBody(counted, told, PROGRAM_BYTES);
  progress("engine", length, length);
  exports = await loaded;
  worker = wasm_bindgen;
  worker.start();
  early.splice(0).forEach(take);
};

start().catch((error) => {
  dead = true;
  post(JSON.stringify({ Panicked: { text: String(error?.stack ?? error) } }));
});
