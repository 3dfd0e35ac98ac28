// SPDX-License-Identifier: GPL-2.0-or-later
// Numbers and names as the page shows them.
import type { Fields, Trace } from "./trace";

export function grouped(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
}

// A time in the unit that fits, from cycles.
export function duration(cycles: number, frequency: number): string {
  const seconds = cycles / frequency;
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["\u00b5s", 1e-6]] as const)
    if (Math.abs(seconds) >= size) return `${(seconds / size).toPrecision(4)} ${unit}`;
  return `${(seconds / 1e-9).toFixed(1)} ns`;
}

export function percent(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "-";
}

// What an event is, in a few words.
export function title(trace: Trace, event: number): string {
  const kind = trace.kindName(event);
  const what = trace.whatName(event);
  if (kind === "vm-exit") return `VM exit: ${what}`;
  if (kind === "l0-exit") return `VM exit to L0: ${what}`;
  if (kind === "vm-entry") return `VM entry: ${what}`;
  if (kind === "check-failed") return `Failed check: ${what}`;
  if (kind === "walk") return `Walk: ${what}`;
  const name = kind.charAt(0).toUpperCase() + kind.slice(1).replace(/-/g, " ");
  return what ? `${name}: ${what}` : name;
}

// The same where there is little room.
export function shortTitle(trace: Trace, event: number): string {
  return title(trace, event).replace(/^VM exit: /, "Exit: ").replace(/^VM entry: /, "Entry: ").replace(/^VM exit to L0/, "Exit to L0").replace(/^Failed check: /, "");
}

const SHOWN = new Map([
  ["vm-exit", ["guest_physical", "guest_linear", "msr", "leaf", "qualification"]],
  ["walk", ["linear", "guest_physical", "rule", "why"]],
  ["check-failed", ["field", "value"]],
  ["vm-entry", ["eptp", "vpid"]],
  ["exception", ["error_code", "cr2", "why"]],
  ["unclaimed-access", ["direction", "address", "value"]],
]);

// What the list says beside the title.
export function brief(fields: Fields): string {
  const keys = SHOWN.get(fields.event) ?? [];
  return keys
    .filter((key) => typeof fields[key] === "string" || typeof fields[key] === "number")
    .slice(0, 2)
    .map((key) => `${key.replace(/_/g, "-")} ${fields[key]}`)
    .join(", ");
}

const SYMBOLS = new Map([
  ["vm-exit", "\u2199"],
  ["l0-exit", "\u2199"],
  ["vm-entry", "\u2197"],
  ["check-failed", "\u2715"],
  ["vm-instruction-error", "\u2715"],
  ["exception", "\u25b2"],
  ["interrupt", "\u25cf"],
  ["walk", "\u2637"],
  ["triple-fault", "\u25a0"],
  ["vmx-abort", "\u25a0"],
]);
export function symbol(kind: string): string {
  return SYMBOLS.get(kind) ?? "\u25c6";
}
