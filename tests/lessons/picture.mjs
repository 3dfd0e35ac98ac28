// SPDX-License-Identifier: GPL-2.0-or-later
// picture.mjs MODULES PAGE PICTURE KIND TEXT WHICH [KEY...]: a picture of a page of `nestor view`,
// 1280x800, as the lessons show them. MODULES has node_modules with playwright-core. Chooses the
// event number WHICH (from 0) of those of KIND (or "all") that have TEXT, and shows its walk, to
// which KEYs then go. A KEY "timeline:+" goes to the timeline; "heading:TEXT" shows this part instead.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, file, picture, kind, text, which, ...keys] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), "package.json"))("playwright-core");
const chromiumPath = execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
await page.goto(pathToFileURL(resolve(file)).href);
await page.waitForSelector("#page[data-loaded]");
if (kind !== "all") await page.selectOption(".filters select", kind);
await page.locator(".row", { hasText: text }).nth(Number(which)).click();
await page.waitForSelector(".detail .where");
const walk = page.locator(".walk .grid");
if (await walk.count()) await page.evaluate(() => document.querySelector(".walk").parentElement.scrollIntoView());
for (const key of keys) {
  if (key.startsWith("heading:")) {
    await page.locator(".detail h3", { hasText: key.slice(8) }).evaluate((heading) => heading.scrollIntoView());
    continue;
  }
  const [part, name] = key.startsWith("timeline:") ? ["canvas", key.slice(9)] : [".walk .grid", key];
  await page.locator(part).focus();
  await page.keyboard.press(name);
}
await page.screenshot({ path: picture });
await browser.close();
