// Runs a static riscv64 program in the WebAssembly build of the CPU and says how fast (CPU time of the
// main thread's process; "steady" is the second half of the run):
//   node crates/rv64/examples/run.mjs WASM PROGRAM [ARGUMENTS]
import { readFileSync } from 'node:fs';

const [wasm, file, ...args] = process.argv.slice(2);
const argument = [file, ...args].join('\n');
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(wasm)), {});
const put = (bytes) => {
  const at = exports.allocate(bytes.length);
  new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
  return [at, bytes.length];
};
exports.load(...put(readFileSync(file)), ...put(Buffer.from(argument)));
const points = [[0, 0]];
const now = () => process.cpuUsage().user / 1000;
const start = now();
let status = -1;
while (status < 0) {
  status = exports.run(10);
  points.push([now() - start, exports.retired()]);
}
const rate = (from, to) => ((to[1] - from[1]) / (to[0] - from[0]) / 1000).toFixed(0);
const last = points.at(-1);
const middle = points[points.length >> 1];
let best = 0;
for (let i = 0; i + 10 < points.length; i++) best = Math.max(best, rate(points[i], points[i + 10]));
process.stdout.write(Buffer.from(exports.memory.buffer, exports.output(), exports.output_len()));
console.error(`status ${status}: ${last[1]} instructions, ${(last[0] / 1000).toFixed(3)} s, ` +
  `${rate(points[0], last)} MIPS, steady ${rate(middle, last)}, best ${best}`);
