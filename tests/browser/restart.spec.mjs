// A machine that is restarted, from its terminal and by its button: the disk stays, the shell is a new one.
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, open, screen, type } from "./drive.mjs";

test("an instance is restarted, switched off and switched on again", async ({ page }) => {
  test.setTimeout(180_000);
  await open(page);
  await addInstance(page);
  await type(page, "docker run -d --name on --restart always busybox sleep 1000; echo kept > /srv/file; x=lost");
  await expect(screen(page).locator(".xterm-rows")).toContainText(/[0-9a-f]{64}/, { timeout: 60_000 });
  const running = "until docker ps >/dev/null 2>&1; do sleep 0.1; done; docker ps --format '{{.Names}} {{.State}}'";

  await type(page, "clear; reboot");
  await expect(screen(page).locator(".xterm-rows")).toContainText("The system will reboot now!");
  await expect(screen(page).locator(".xterm-rows")).toContainText("reboot: Restarting system", { timeout: 60_000 });
  // Below what was there, not over it.
  await expect(screen(page).locator(".xterm-rows")).toContainText(/The system will reboot now![^]*Restarting system[^]*\$/);
  await type(page, `clear; cat /srv/file; echo "[$x]"; ${running}`);
  await expectLine(page, "on running", { timeout: 60_000 });
  await expectLine(page, "kept");
  await expectLine(page, "[]");

  await type(page, "clear; poweroff");
  const start = page.getByRole("button", { name: "START", exact: true });
  await expect(start).toBeVisible({ timeout: 60_000 });
  await expect(screen(page).locator(".xterm-rows")).toContainText("reboot: Power down");
  await expect(page.getByRole("button", { name: "STRACE" })).toBeDisabled();
  await start.click();
  await expect(page.getByRole("button", { name: "RESTART", exact: true })).toBeEnabled();
  await expect(screen(page).locator(".xterm-rows")).toContainText(/Power down[^]*\$/);

  await page.getByRole("button", { name: "RESTART", exact: true }).click();
  await expect(screen(page).locator(".xterm-rows")).toContainText("reboot: Restarting system", { timeout: 60_000 });
  await expect(screen(page).locator(".xterm-rows")).toContainText(/Restarting system[^]*\$/);
  await screen(page).click();
  await type(page, `clear; cat /srv/file; ${running}`);
  await expectLine(page, "on running", { timeout: 60_000 });
  await expectLine(page, "kept");
});
