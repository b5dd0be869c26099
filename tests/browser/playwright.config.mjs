// The browser tests' runner; `cargo xtask test browser` starts the servers and names them here.
import { defineConfig } from "@playwright/test";

const executablePath = process.env.CHROMIUM;
if (!executablePath || !process.env.DRYDOCK_URL) {
  throw new Error("run the browser tests by `cargo xtask test browser`");
}

export default defineConfig({
  testDir: ".",
  outputDir: "test-results",
  // One machine at a time: the guests compute, and time limits should mean something.
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  forbidOnly: true,
  // When the machine does not start, every test waits for it: three are enough to know.
  maxFailures: process.env.CI ? 3 : 0,
  reporter: [["list"]],
  use: {
    baseURL: process.env.DRYDOCK_URL,
    browserName: "chromium",
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    permissions: ["clipboard-read", "clipboard-write"],
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath,
      // Chromium refuses to sandbox for root, as whom CI runs.
      args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    },
  },
});
