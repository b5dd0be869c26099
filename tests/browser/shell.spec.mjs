// The machine in the page: a real shell, Korean, a real container, and a page that stays quick
// while guests compute.
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, lines, open, screen, type } from "./drive.mjs";

test("the shell computes, and Korean comes back whole", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "echo $((6*7))");
  await expectLine(page, "42");
  await page.keyboard.insertText("echo 한글");
  await page.keyboard.press("Enter");
  await expectLine(page, "한글");
});

test("Korean is composed in the terminal", async ({ page, context }) => {
  await open(page);
  await addInstance(page);
  await page.keyboard.type("echo ");
  const browser = await context.newCDPSession(page);
  // As an input method does: a syllable grows, and is committed when the next begins.
  for (const steps of ["ㅎ하한", "ㄱ그글"]) {
    for (const text of steps) {
      const selection = { selectionStart: 1, selectionEnd: 1 };
      await browser.send("Input.imeSetComposition", { text, ...selection });
    }
    await browser.send("Input.insertText", { text: steps.at(-1) });
  }
  await page.keyboard.press("Enter");
  await expectLine(page, "한글");
});

test("text is copied and pasted by the keys of terminals", async ({ page }) => {
  await open(page);
  await addInstance(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const paste = async (text, key) => {
    await page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await page.keyboard.press(key);
    await page.keyboard.press("Enter");
  };
  await paste("echo pasted-$((1+1))", "Shift+Insert");
  await expectLine(page, "pasted-2");
  await paste("echo again-$((1+2))", "Control+Shift+V");
  await expectLine(page, "again-3");
  for (const key of ["Control+Insert", "Control+Shift+C", "Control+C"]) {
    await page.evaluate(() => navigator.clipboard.writeText(""));
    const row = screen(page).locator(".xterm-rows > div", { hasText: /^again-3/ });
    const box = await row.boundingBox();
    // xterm.js takes the mouse on a layer above the text.
    await page.mouse.dblclick(box.x + 20, box.y + box.height / 2);
    await page.keyboard.press(key);
    await expect.poll(clipboard).toContain("again");
  }
});

test("a container of a real image runs", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "docker run --rm busybox echo hi");
  await expectLine(page, "hi");
});

test("typing stays quick while a guest computes, and a flood is stopped at once", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "while :; do :; done &");
  await type(page, "echo quick-$((2+3))");
  await expectLine(page, "quick-5", { timeout: 5_000 });
  await type(page, "kill %1; yes");
  await expectLine(page, "y");
  await page.waitForTimeout(1_000);
  await page.keyboard.press("Control+C");
  await type(page, "echo after-$((4+4))");
  await expectLine(page, "after-8", { timeout: 5_000 });
});

test("two instances are two machines", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await type(page, "hostname; echo first-only > /tmp/file; ls /tmp/file");
  await expectLine(page, "node1");
  await expectLine(page, "/tmp/file");
  await addInstance(page);
  await type(page, "hostname; ls /tmp/file || echo not here");
  await expectLine(page, "node2");
  await expectLine(page, "not here");
  expect((await lines(page)).join("\n")).not.toContain("first-only");
});

test("a machine that crashes says why, and the others go on", async ({ page }) => {
  await open(page);
  await addInstance(page);
  await addInstance(page);
  // A panic in the kernel, as a bug of it would be; twice, because the first must leave no trace.
  for (const name of ["node2", "node3"]) {
    await type(page, "echo c > /proc/sysrq-trigger");
    const card = page.getByRole("alert").filter({ hasText: "sysrq triggered crash" });
    await expect(card).toBeVisible();
    const list = page.getByRole("navigation", { name: "Instances" }).getByRole("listitem");
    await list.nth(0).getByRole("button").click();
    await type(page, `echo beside-${name}`);
    await expectLine(page, `beside-${name}`);
    if (name === "node2") await addInstance(page);
  }
  await type(page, "docker run --rm busybox echo still-$((40+2))");
  await expectLine(page, "still-42");
});
