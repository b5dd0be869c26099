// Servers that tutorials start, used from the machine, from the browser and from a second machine.
import { expect, test } from "@playwright/test";
import { addInstance, expectLine, open, type } from "./drive.mjs";

test("nginx and redis answer on their machine, in a tab and on another machine", async ({ page, context }) => {
  test.setTimeout(300_000);
  await open(page);
  await addInstance(page);
  await type(page, "clear; docker run -d --name web -p 8080:80 nginx; docker run -d --name cache -p 6379:6379 redis");
  await type(page, "until curl -so /dev/null localhost:8080; do sleep 0.1; done; docker exec cache redis-cli incrby n 42");
  await expectLine(page, "42", { timeout: 120_000 });
  const chip = page.getByRole("link", { name: "8080" });
  await expect(chip).toBeVisible();
  const site = await context.newPage();
  await site.goto(await chip.getAttribute("href"));
  await expect(site.getByRole("heading", { name: "Welcome to nginx!" })).toBeVisible();
  await site.close();
  await page.bringToFront();
  await addInstance(page);
  await type(page, "clear; curl -s node1:8080 | grep -o '<h1>.*</h1>'; docker run --rm redis redis-cli -h node1 incr n");
  await expectLine(page, "<h1>Welcome to nginx!</h1>", { timeout: 60_000 });
  await expectLine(page, "43", { timeout: 120_000 });
});
