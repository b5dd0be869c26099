// What `cargo xtask setup` bundles from npm into static/vendor/xterm.js: the terminal and its
// style sheet, reached by `src/terminal.rs` through the global `xterm`.
import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SerializeAddon } from "@xterm/addon-serialize";
import { Terminal } from "@xterm/xterm";

globalThis.xterm = { FitAddon, SerializeAddon, Terminal };
