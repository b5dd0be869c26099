// Saved playgrounds: the memory of the worker's program as a file, and back.
//
// The machines, their daemons and everything they know are in that memory and nowhere else (design
// decision 6), so a copy of it is all that has to be kept. It means something to the same program
// only: the file says which one wrote it.
//
//   drydock-playground 1 BYTES\n   how long the header is
//   header                         JSON: program, memory, tables, downloads, the page's own part
//   gzip                           the memory
//
// Loaded by `worker_loader.js`, which it gives `self.saved`. Nothing here calls the program.
"use strict";

self.saved = (() => {
  const MAGIC = "drydock-playground 1";
  /** The kept playground's name in the origin's private file system, and its lock's. */
  const KEPT = "drydock-playground";
  /** Longer than a worker takes to end; not long for a second tab of a session that was duplicated. */
  const WAIT_MS = 5000;
  const STEP = 4 << 20;
  const PAGE = 65536;

  /** Why a file is refused, as the page's protocol has it. */
  class Refused extends Error {
    constructor(why) {
      super(JSON.stringify(why));
      this.why = why;
    }
  }
  const unreadable = (text) => new Refused({ Unreadable: { text } });

  /** The file as a stream. `memory` is a copy: the program goes on meanwhile. */
  const fileOf = (header, memory, told) => {
    const text = new TextEncoder().encode(JSON.stringify(header));
    const start = new TextEncoder().encode(`${MAGIC} ${text.length}\n`);
    let at = 0;
    const pages = new ReadableStream({
      pull(controller) {
        if (at >= memory.byteLength) return controller.close();
        const length = Math.min(STEP, memory.byteLength - at);
        controller.enqueue(new Uint8Array(memory, at, length));
        at += length;
        told(at, memory.byteLength);
      },
    });
    const packed = pages.pipeThrough(new CompressionStream("gzip")).getReader();
    const head = [start, text];
    return new ReadableStream({
      async pull(controller) {
        if (head.length) return controller.enqueue(head.shift());
        const { value, done } = await packed.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    });
  };

  /** The header of a file, and where its memory begins. */
  const headerOf = async (file) => {
    const start = await file.slice(0, 64).text();
    const line = start.split("\n")[0];
    const length = Number(line.startsWith(`${MAGIC} `) ? line.slice(MAGIC.length) : NaN);
    const at = line.length + 1;
    if (!Number.isSafeInteger(length) || at + length > file.size) {
      throw unreadable("this is not a playground that Drydock saved");
    }
    try {
      return [JSON.parse(await file.slice(at, at + length).text()), at + length];
    } catch (error) {
      throw unreadable(`the header is damaged: ${error.message}`);
    }
  };

  /** Puts what was saved into the memory of a fresh program. */
  const load = async (file, exports, program, told) => {
    const [header, at] = await headerOf(file);
    if (header.program !== program) throw new Refused({ OtherBuild: { page: header.page ?? "" } });
    const { memory, __wbindgen_externrefs: table } = exports;
    const bytes = header.memory_bytes;
    const more = bytes / PAGE - memory.buffer.byteLength / PAGE;
    if (!Number.isInteger(more) || more < 0) throw unreadable("the memory has no sensible size");
    try {
      memory.grow(more);
    } catch {
      throw unreadable("this browser has not enough memory for it");
    }
    if (table.length < header.table_length) table.grow(header.table_length - table.length);
    const target = new Uint8Array(memory.buffer);
    const reader = file.slice(at).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    let done = 0;
    try {
      for (;;) {
        const { value, done: end } = await reader.read();
        if (end) break;
        target.set(value, done);
        done += value.length;
        told(done, bytes);
      }
    } catch (error) {
      throw unreadable(`the memory is damaged: ${error.message}`);
    }
    if (done !== bytes) throw unreadable(`the memory ends after ${done} of ${bytes} bytes`);
    return header;
  };

  /**
   * The kept playground belongs to one tab at a time: the first that asks, until it is closed. A tab
   * that is loaded again waits for its last worker, which may be ending still.
   */
  let mine;
  const isMine = (waits = false) => {
    mine ??= new Promise((answer) => {
      const held = (lock) => {
        answer(lock !== null);
        return lock && new Promise(() => {});
      };
      const how = waits ? { signal: AbortSignal.timeout(WAIT_MS) } : { ifAvailable: true };
      navigator.locks.request(KEPT, how, held).catch(() => answer(false));
    });
    return mine;
  };

  return {
    Refused,
    load,

    /** Saves a copy of the memory of a program at rest: to a file that is answered, or in this browser. */
    async save(header, memory, toFile, told) {
      const stream = fileOf(header, memory, told);
      if (toFile) return new Response(stream).blob();
      if (!(await isMine())) throw new Error("another tab keeps its playground in this browser");
      const folder = await navigator.storage.getDirectory();
      const handle = await folder.getFileHandle(KEPT, { create: true });
      // Takes the old one's place when it is closed, and not before.
      await stream.pipeTo(await handle.createWritable());
      return undefined;
    },

    /** The kept playground, or undefined. `ours`: this tab kept it. */
    async kept(ours) {
      if (!(await isMine(ours))) return undefined;
      try {
        const folder = await navigator.storage.getDirectory();
        const file = await (await folder.getFileHandle(KEPT)).getFile();
        return file.size > 0 ? file : undefined;
      } catch {
        return undefined;
      }
    },

    async forget() {
      if (!(await isMine())) return;
      const folder = await navigator.storage.getDirectory();
      await folder.removeEntry(KEPT).catch(() => {});
    },
  };
})();
