// SPDX-License-Identifier: GPL-2.0-or-later
// A walk as a grid: a row for each of the guest's tables and one for the page, a column for each
// table of EPT and one for the guest's entry. (n+1)(m+1) cells, of which the last is no reference.
import type { EntryBit, Facts, Fields, Step } from "./trace";
import type { Named } from "./bits";

export type CellState =
  | "read" // a step of the walk
  | "cached" // not read: a paging-structure cache or a cached guest-physical translation has it
  | "large" // not needed: an entry above maps a large page
  | "unreached" // the walk ended before
  | "result"; // the last cell: what the walk came to
export interface Cell {
  state: CellState;
  step: number; // of the walk, from 0; -1: none
}
export interface Row {
  name: string;
  level: number; // of the guest's entry; 0: the page
  cells: Cell[]; // EPT from its top level down, then the guest's entry
}
export interface Grid {
  columns: string[];
  rows: Row[];
  eptLevels: number;
  guestLevels: number;
  extra: number[]; // steps that are in neither dimension: of sub-page write permissions
}

const GUEST_LEVELS = new Map([["none", 0], ["32-bit", 2], ["PAE", 2], ["4-level", 4], ["5-level", 5]]);
const MOST_STEPS = 200;
const TABLES = ["", "PT", "PD", "PDPT", "PML4", "PML5"];

export function number(text: unknown): bigint {
  try {
    return typeof text === "string" || typeof text === "number" ? BigInt(text) : 0n;
  } catch {
    return 0n;
  }
}

export function mapsPage(step: Step): boolean {
  return step.level === 1 || (step.level <= 3 && (number(step.entry) & 0x80n) !== 0n);
}

// Bits 2:0, and bit 10 with mode-based execute control; P of a guest's entry.
export function isPresent(step: Step): boolean {
  return (number(step.entry) & (step.dimension === "EPT" ? 0x407n : 1n)) !== 0n;
}
// Of an entry that is not present nothing else means anything.
const MEANT_WHEN_ABSENT = new Set(["P", "read", "write", "execute", "user execute", "suppress #VE"]);

function isLast(walk: Fields, grid: Grid, row: number): boolean {
  return row === grid.rows.length - 1 || walk.outcome !== "translated";
}

// Which row the steps of EPT belong to that no entry of the guest follows.
function openRow(walk: Fields, guest: Step[], guestLevels: number): number {
  const latest = guest[guest.length - 1];
  if (latest) return mapsPage(latest) ? 0 : latest.level - 1;
  const samePage = (number(walk.guest_physical) & 0xfffn) === (number(walk.linear) & 0xfffn);
  return walk.linear === undefined || walk.outcome === "translated" || samePage ? 0 : guestLevels;
}

const DIMENSIONS = new Set(["guest", "EPT", "SPP"]);
const LEVELS = new Set([1, 2, 3, 4, 5]);

// What of a trace are steps.
export function stepsOf(walk: Fields): Step[] {
  const steps: Partial<Step>[] = Array.isArray(walk.steps) ? walk.steps.slice(0, MOST_STEPS) : [];
  return steps.filter((step) => step !== null && typeof step === "object" && DIMENSIONS.has(step.dimension!) && LEVELS.has(step.level!)) as Step[];
}

export function buildGrid(walk: Fields): Grid {
  const steps = stepsOf(walk);
  const guest = steps.filter((step) => step.dimension === "guest");
  const guestLevels = Math.max(GUEST_LEVELS.get(String(walk.paging)) ?? 0, ...guest.map((step) => step.level));
  const ept = steps.filter((step) => step.dimension === "EPT");
  const eptLevels = walk.eptp === undefined
    ? 0
    : Math.max(Number((number(walk.eptp) >> 3n) & 7n) + 1, ...ept.map((step) => step.level));
  const grid: Grid = { columns: [], rows: [], eptLevels, guestLevels, extra: [] };
  for (let level = eptLevels; level >= 1; level--) grid.columns.push(`EPT ${level}`);
  grid.columns.push("guest");
  for (let level = guestLevels; level >= 0; level--) {
    const cells = Array.from({ length: eptLevels + 1 }, (): Cell => ({ state: "unreached", step: -1 }));
    const wide = walk.paging === "4-level" || walk.paging === "5-level";
    const name = level === 0 ? "page" : wide ? TABLES[level] ?? `level ${level}` : level === 2 ? "PD" : "PT";
    grid.rows.push({ name, level, cells });
  }
  const rowOf = (level: number) => Math.min(Math.max(guestLevels - level, 0), guestLevels);
  let waiting: number[] = [];
  const settle = (row: number, guestStep: number) => {
    const cells = grid.rows[row].cells;
    for (const index of waiting) {
      const column = eptLevels - steps[index].level;
      if (column >= 0 && column < eptLevels) cells[column] = { state: "read", step: index };
    }
    waiting = [];
    if (guestStep >= 0) cells[eptLevels] = { state: "read", step: guestStep };
  };
  steps.forEach((step, index) => {
    if (step.dimension === "EPT") waiting.push(index);
    else if (step.dimension === "guest") settle(rowOf(step.level), index);
    else grid.extra.push(index);
  });
  if (waiting.length) settle(rowOf(openRow(walk, guest, guestLevels)), -1);
  explainGaps(walk, grid, steps);
  return grid;
}

// Why the cells without a step have none.
function explainGaps(walk: Fields, grid: Grid, steps: Step[]) {
  const visited = grid.rows.map((row) => row.cells.some((cell) => cell.step >= 0));
  const finished = walk.outcome === "translated";
  const firstRow = visited.indexOf(true);
  const lastRow = finished ? grid.rows.length - 1 : visited.lastIndexOf(true);
  grid.rows.forEach((row, index) => {
    const above = grid.rows.slice(0, index).reverse().find((one) => one.cells[grid.eptLevels].step >= 0);
    const guestStep = above && steps[above.cells[grid.eptLevels].step];
    const jumped = row.level > 0 && guestStep !== undefined && mapsPage(guestStep);
    const passed = index < lastRow || (index === lastRow && (finished || visited[index]));
    const isPage = row.level === 0;
    row.cells.forEach((cell, column) => {
      if (cell.step >= 0) return;
      if (isPage && column === grid.eptLevels) {
        cell.state = finished ? "result" : "unreached";
        return;
      }
      if (!passed) return;
      if (jumped) {
        cell.state = "large";
      } else if (!visited[index] || index < firstRow) {
        cell.state = "cached";
      } else if (column < grid.eptLevels) {
        const before = row.cells.slice(0, column).reverse().find((one) => one.step >= 0);
        const leaf = before !== undefined && mapsPage(steps[before.step]);
        const ended = before !== undefined && isLast(walk, grid, index) && row.cells[grid.eptLevels].step < 0 && !leaf;
        cell.state = leaf ? "large" : ended ? "unreached" : "cached";
      }
    });
  });
}

// The address that a step is about: the linear address for the guest's entries, for EPT's the
// guest-physical address of what it leads to.
export function translated(walk: Fields, steps: Step[], index: number): { name: string; address: bigint } {
  const step = steps[index];
  if (step.dimension === "guest") return { name: "linear address", address: number(walk.linear) };
  const next = steps.slice(index).find((one) => one.dimension === "guest");
  return next
    ? { name: `guest-physical address of the guest's level ${next.level} entry`, address: number(next.address) }
    : { name: "guest-physical address", address: number(walk.guest_physical) };
}

// Which bits of that address choose the entry.
export function indexBits(walk: Fields, step: Step): { high: number; low: number } {
  const wide = step.dimension === "EPT" || walk.paging !== "32-bit";
  const bits = wide ? 9 : 10;
  const low = 12 + bits * (step.level - 1);
  return { high: low + bits - 1, low };
}

// The bits of an entry by name.
export function entryParts(facts: Facts, walk: Fields, step: Step): Named[] {
  if (step.dimension === "SPP") return [];
  const ept = step.dimension === "EPT";
  const page = mapsPage(step);
  const entry = number(step.entry);
  const bits: EntryBit[] = ept ? facts.eptBits : facts.guestBits;
  const narrow = !ept && walk.paging === "32-bit";
  const parts: Named[] = bits
    .filter((bit) => (!bit.page || page) && !(narrow && bit.bit > 31))
    .map((bit) => ({ low: bit.bit, width: 1, name: bit.name === "PS" && step.level === 1 ? "PAT" : bit.name }));
  if (!isPresent(step)) return parts.filter((part) => MEANT_WHEN_ABSENT.has(part.name));
  if (ept && page) {
    const type = facts.memoryTypes[Number((entry >> 3n) & 7n)];
    parts.push({ low: 3, width: 3, name: "memory type", value: type });
  }
  if (ept && step.level > 1) {
    parts.push({ low: 7, width: 1, name: "maps a page", value: page ? `of ${step.level === 2 ? "2 MBytes" : "1 GByte"}` : undefined });
  }
  const shift = page ? indexBits(walk, step).low : 12;
  const top = narrow ? 31 : 51;
  if (top > shift) parts.push({ low: shift, width: top - shift + 1, name: page ? "address of the page" : "address of the next table", value: `0x${(((entry >> BigInt(shift)) & ((1n << BigInt(top - shift + 1)) - 1n)) << BigInt(shift)).toString(16)}` });
  return parts.sort((a, b) => a.low - b.low);
}
