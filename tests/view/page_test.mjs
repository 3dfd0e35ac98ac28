// SPDX-License-Identifier: GPL-2.0-or-later
// page_test.mjs NESTOR IMAGES MODULES CHROMIUM [PICTURES]: the page of `nestor view` in a browser
// without a screen. MODULES has node_modules with playwright-core. With PICTURES the pictures of
// docs/view.md are written to that folder.
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [nestor, images, modules, chromiumPath, pictures] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), "package.json"))("playwright-core");
const folder = mkdtempSync(join(tmpdir(), "nestor-view-"));
const PATIENCE = 120_000; // milliseconds, on a machine that is busy
let failures = 0;

function check(condition, what) {
  if (condition) return;
  failures++;
  console.log(`FAIL: ${what}`);
}

// Runs an image and makes the page of its trace.
function pageOf(image, name, options = []) {
  const trace = join(folder, `${name}.jsonl`);
  const run = ["run", join(images, image, `${image}.elf`), "--trace", trace, "--trace-format", "jsonl", "--serial",
    "none", "--quiet", ...options];
  try {
    execFileSync(nestor, run, { stdio: ["ignore", "ignore", "inherit"] });
  } catch (error) {
    if (error.status % 2 !== 1) throw error; // the guest's own status is odd
  }
  execFileSync(nestor, ["view", trace, "--out", join(folder, `${name}.html`)], { stdio: ["ignore", "ignore", "ignore"] });
  return pathToFileURL(join(folder, `${name}.html`)).href;
}

const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox", "--disable-gpu"], timeout: PATIENCE });

// Opens a page, and holds it to what every page must keep.
async function open(url, options, use) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on("console", (message) => { if (message.type() === "error" || message.type() === "warning") complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => { if (request.url() !== url && !request.url().startsWith("data:")) requests.push(request.url()); });
  await page.goto(url);
  await page.waitForSelector("#page[data-loaded]");
  await use(page);
  check(complaints.length === 0, `the console has: ${complaints.join("; ")}`);
  check(requests.length === 0, `requests were made: ${requests.join(" ")}`);
  await context.close();
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
}

// Chooses the n-th event of a kind, by the list.
async function choose(page, kind, text, which = 0) {
  await page.selectOption(".filters select", kind);
  await page.locator(".row", { hasText: text }).nth(which).click();
  await page.waitForSelector(".detail .where");
}

const luminance = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
    const value = Number(part) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
// The lowest contrast of any text that is seen (WCAG 2, "Contrast (Minimum)": 4.5), and its text.
async function lowestContrast(page) {
  const pairs = await page.evaluate(() => {
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!own || !element.checkVisibility() || element.matches(":disabled, .unseen, script")) continue;
      let behind = element;
      while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
      found.push([getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor, element.textContent.slice(0, 40)]);
    }
    return found;
  });
  let lowest = [21, ""];
  for (const [front, back, text] of pairs) {
    const [a, b] = [luminance(front), luminance(back)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, `${text} (${front} on ${back})`];
  }
  return lowest;
}

const now = (page) => page.getAttribute(".walk .grid", "aria-activedescendant");

async function stepsAWalk(page) {
  await page.locator(".walk .grid").focus();
  check((await page.locator(".walk td.now.bad").count()) === 1, "a failed walk does not begin where it ended");
  await page.keyboard.press("Home");
  check((await now(page)) === "step-0", "Home does not go to the first step");
  await page.keyboard.press("ArrowRight");
  check((await now(page)) === "step-1", "the right arrow does not go to the next step");
  check((await page.textContent(".stepper span")).startsWith("Step 2 of"), "the stepper does not follow");
  await page.keyboard.press("ArrowDown");
  const below = Number((await now(page)).slice(5));
  check(below > 1, "the down arrow does not go to the next row");
  await page.keyboard.press("ArrowUp");
  check(Number((await now(page)).slice(5)) < below, "the up arrow does not go back");
  await page.keyboard.press("End");
  check((await page.locator(".walk td.now.bad").count()) === 1, "the last step of a failed walk is not marked");
  await page.keyboard.press("ArrowLeft");
  check((await page.locator(".walk td.now.bad").count()) === 0, "the left arrow does not go back");
  await page.keyboard.press("End");
}

try {
  const violations = pageOf("ept-violation", "ept-violation", ["--trace-vmcs"]);
  for (const colorScheme of ["light", "dark"]) {
    await open(violations, { colorScheme }, async (page) => {
      check((await page.title()).startsWith("ept-violation.jsonl"), "the title does not name the trace");
      await choose(page, "vm-exit", "EPT violation", 2);
      const detail = await page.textContent(".detail");
      check(detail.includes("VM exit: EPT violation"), "an exit does not open");
      check(detail.includes("Exit qualification 0x"), "the qualification is not decoded");
      check(/L1 took .* cycles/.test(detail), "the cost of the exit is missing");
      check(detail.includes("VMCS fields changed by VM exit") && detail.includes("Guest-physical address"),
        "the VMCS fields that changed are missing");
      await stepsAWalk(page);
      check((await page.textContent(".walk .failure")).includes("EPT violation"), "the failed step does not say why");
      check((await page.textContent(".walk .bits")).includes("suppress #VE\u00a0(63)"), "the bits of the entry are not named");
      if (pictures) await page.evaluate(() => document.querySelector(".walk").parentElement.scrollIntoView());
      await picture(page, `view-exit-${colorScheme}`);
      const [contrast, text] = await lowestContrast(page);
      check(contrast >= 4.5, `${colorScheme}: a contrast of ${contrast.toFixed(2)}: ${text}`);
      const body = luminance(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      check(colorScheme === "dark" ? body < 0.1 : body > 0.9, `the page is not ${colorScheme}`);
      await page.click("text=By reason");
      check((await page.textContent(".summary")).includes("EPT misconfiguration"), "no exits by reason");
      if (colorScheme === "light") await picture(page, "view-reasons");
      await page.click("#tab-By\\ RIP");
      check((await page.textContent(".summary")).includes("0x"), "no exits by RIP");
      if (colorScheme === "light") await picture(page, "view-rips");
      await page.locator(".summary tbody button").first().click();
      check((await page.locator(".filters code").count()) === 1, "a RIP does not filter the list");
    });
  }

  await open(violations, {}, async (page) => {
    await page.locator("canvas").focus();
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    check((await page.locator(".row.now").getAttribute("aria-posinset")) === "2", "keys do not select on the timeline");
    const before = await page.textContent(".tools span");
    await page.keyboard.press("+");
    check((await page.textContent(".tools span")) !== before, "plus does not zoom");
    await page.locator(".list").focus();
    await page.keyboard.press("End");
    check((await page.textContent(".detail h2")).includes("Run end"), "the End key does not go to the last event");
    await page.keyboard.press("PageUp");
    await page.keyboard.press("ArrowUp");
    check(!(await page.textContent(".detail h2")).includes("Run end"), "keys do not move in the list");
    const place = async () => Number(await page.locator(".row.now").getAttribute("aria-posinset"));
    const find = page.locator("input[type=search]");
    await find.fill("ept MISCONFIGURATION");
    await find.press("Enter");
    await page.waitForFunction(() => document.querySelector(".detail h2").textContent.includes("EPT misconfiguration"));
    const first = await place();
    await find.press("Enter");
    await page.waitForFunction((old) => Number(document.querySelector(".row.now").getAttribute("aria-posinset")) > old, first);
    await find.press("Shift+Enter");
    await page.waitForFunction((old) => Number(document.querySelector(".row.now").getAttribute("aria-posinset")) === old, first);
    await find.fill("no trace has this");
    await find.press("Enter");
    await page.waitForSelector("text=not found");
    check((await place()) === first, "what is not found selects another event");
  });

  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const fitsPhone = async (page, what) => {
    const width = await page.evaluate(() => document.scrollingElement.scrollWidth);
    check(width <= 390, `on a phone ${what} is ${width} pixels wide`);
  };
  await open(violations, phone, async (page) => {
    await picture(page, "view-phone");
    await choose(page, "vm-exit", "EPT violation", 2);
    await fitsPhone(page, "an exit");
    await page.evaluate(() => document.querySelector(".detail").scrollIntoView());
    await picture(page, "view-phone-exit");
    await page.evaluate(() => document.querySelector(".walk .grid").scrollIntoView());
    await picture(page, "view-phone-walk");
    await page.click("text=By reason");
    await fitsPhone(page, "the table of reasons");
    check(await page.evaluate(() => document.querySelector(".summary").scrollWidth <= document.querySelector(".summary").clientWidth),
      "on a phone the table of reasons is cut");
    await page.evaluate(() => document.querySelector(".summary").scrollIntoView());
    await picture(page, "view-phone-reasons");
    await page.click("#tab-By\\ RIP");
    await fitsPhone(page, "the table of RIPs");
    await picture(page, "view-phone-rips");
  });
  await open(pageOf("broken-vmcs", "broken-vmcs"), phone, async (page) => {
    await choose(page, "check-failed", "pin-based-reserved", 0);
    await fitsPhone(page, "a failed check");
    await page.evaluate(() => document.querySelector(".detail").scrollIntoView());
    await picture(page, "view-phone-check");
  });

  await open(pageOf("broken-vmcs", "broken-vmcs"), {}, async (page) => {
    await choose(page, "check-failed", "pin-based-reserved", 0);
    const failure = await page.textContent(".detail .failure");
    check(/= 0x/.test(failure) && failure.includes("SDM"), "a failed check lacks its value or its section");
    await picture(page, "view-check");
  });

  await open(pageOf("missing-invept", "missing-invept", ["--tlb", "keep"]), {}, async (page) => {
    await choose(page, "walk", "translated", 6);
    check((await page.locator(".walk td.read").count()) === 6, "not 6 references");
    check((await page.locator(".walk td.cached").count()) === 12, "not what the caches had");
    check((await page.locator(".walk td.large").count()) === 6, "not what large pages make needless");
    await picture(page, "view-cached");
  });

  await open(pageOf("two-processors", "two-processors", ["--cpus", "2"]), {}, async (page) => {
    check((await page.getAttribute("canvas", "aria-label")).includes("4 lanes"), "not a lane for each level and processor");
    await picture(page, "view-processors");
  });

  // Names and text that would be markup; a page of a part; pages that are damaged.
  const hostile = join(folder, "<img src=x onerror=alert(1)>.jsonl");
  writeFileSync(hostile, `{"cycle":1,"event":"</script><script>document.title='owned'</script>","rip":"<b>"}\n` +
    `{"cycle":2,"event":"vm-exit","reason":"<img src=x onerror=alert(1)>","reason_field":"zzz","qualification":"q"}\n` +
    `{"cycle":3,"event":"walk","outcome":"x","paging":"__proto__","steps":[{"dimension":"EPT","level":255}]}\n` +
    `{"cycle":4,"event":"walk","outcome":"x","eptp":"0x1e","steps":[7,null]}\n{"cycle":5,"event":"cut`);
  try {
    execFileSync(nestor, ["view", hostile, "--out", join(folder, "hostile.html")], { stdio: "ignore" });
    check(false, "a truncated trace is no complaint");
  } catch (error) {
    check(error.status === 4, `a truncated trace gives status ${error.status}`);
  }
  check(!readFileSync(join(folder, "hostile.html"), "utf8").includes("<img src=x"), "names are markup in the page");
  await open(pathToFileURL(join(folder, "hostile.html")).href, {}, async (page) => {
    check((await page.title()).startsWith("<img src=x"), "the title is not the trace's name");
    check((await page.textContent(".note")).includes("truncated"), "the page does not say that it is a part");
    for (let event = 0; event < 4; event++) {
      await page.locator(".row").nth(event).click();
      await page.waitForFunction((n) => document.querySelector(".row.now")?.id === `event-${n}`, event);
      check((await page.locator(".detail h2").count()) === 1, `hostile event ${event} breaks the page`);
    }
    check((await page.locator("img").count()) === 0, "text of the trace is markup");
  });
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
if (failures !== 0) process.exitCode = 1;
else console.log("the page is as it should be");
