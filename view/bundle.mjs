// SPDX-License-Identifier: GPL-2.0-or-later
// Makes page.html beside this file out of src/, with the packages in node_modules.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL(".", import.meta.url));
const sources = join(folder, "src");

const result = await build({
  entryPoints: [join(sources, "main.tsx"), join(sources, "page.css")],
  bundle: true,
  write: false,
  outdir: folder,
  minify: true,
  target: "es2022",
  format: "iife",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "ascii",
  logLevel: "error",
});
const text = (ending) => result.outputFiles.find((file) => file.path.endsWith(ending)).text;
const page = readFileSync(join(sources, "page.html"), "utf8")
  .replace("/*style*/", () => text(".css"))
  .replace("/*program*/", () => text(".js"));
writeFileSync(join(folder, "page.html"), page);
