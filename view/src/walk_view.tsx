// SPDX-License-Identifier: GPL-2.0-or-later
// The walk drawn: the grid of its references, and the entry of one of them.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Bits } from "./bits";
import type { Facts, Fields, Step } from "./trace";
import { buildGrid, entryParts, indexBits, isPresent, mapsPage, number, stepsOf, translated, type Cell, type Grid } from "./walk";

const MARKS: Record<string, [string, string]> = {
  cached: ["\u25cc", "not read, a cache has it"],
  large: ["\u00b7", "not needed, a large page"],
  unreached: ["", "not reached"],
  result: ["\u25ce", "the result"],
};

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

export function WalkView({ walk, facts }: { walk: Fields; facts: Facts }) {
  const steps = useMemo(() => stepsOf(walk), [walk]);
  const grid = useMemo(() => buildGrid(walk), [walk]);
  const failed = walk.outcome !== "translated";
  // Of a walk that failed, where it ended is what one wants to see.
  const begin = failed ? Math.max(steps.length - 1, 0) : 0;
  const [step, setStep] = useState(begin);
  useEffect(() => setStep(begin), [walk]);
  if (steps.length === 0) return <p>This walk made no memory reference: all of it was cached.</p>;
  const at = Math.min(step, steps.length - 1);

  const onKey = (event: KeyboardEvent) => {
    const to = target(event.key, at, steps.length, grid);
    if (to === undefined) return;
    event.preventDefault();
    setStep(to);
  };
  return (
    <div class="walk">
      <div class="scrolls">
        <table class="grid" role="grid" tabIndex={0} onKeyDown={onKey} aria-activedescendant={`step-${at}`}
          aria-label={`The walk, ${steps.length} memory references; arrow keys go from one to another`}>
          <thead>
            <tr role="row"><td />{grid.columns.map((name) => <th scope="col">{name}</th>)}</tr>
          </thead>
          <tbody>
            {grid.rows.map((row) => (
              <tr role="row">
                <th scope="row">{row.name}</th>
                {row.cells.map((cell) => (
                  <GridCell cell={cell} at={at} steps={steps} failed={failed} choose={setStep} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {grid.extra.length > 0 ? (
        <p>Sub-page write permissions: {grid.extra.map((index) => (
          <button type="button" aria-pressed={index === at} onClick={() => setStep(index)}>{index + 1}</button>
        ))}</p>
      ) : null}
      <Legend grid={grid} />
      <div class="stepper" role="group" aria-label="Steps of the walk">
        <button type="button" disabled={at === 0} onClick={() => setStep(at - 1)}>{"\u2190"} Back</button>
        <span aria-live="polite">Step {at + 1} of {steps.length}</span>
        <button type="button" disabled={at === steps.length - 1} onClick={() => setStep(at + 1)}>Next {"\u2192"}</button>
      </div>
      <Entry walk={walk} facts={facts} steps={steps} at={at} />
    </div>
  );
}

// Where a key leads from a step; undefined: it is no key of the walk.
function target(key: string, at: number, count: number, grid: Grid): number | undefined {
  const inRow = (row: number) => grid.rows[row]?.cells.find((cell) => cell.step >= 0)?.step;
  const row = grid.rows.findIndex((one) => one.cells.some((cell) => cell.step === at));
  const vertical = (by: number) => {
    for (let next = row + by; next >= 0 && next < grid.rows.length; next += by)
      if (inRow(next) !== undefined) return inRow(next);
    return at;
  };
  switch (key) {
    case "ArrowRight": return Math.min(at + 1, count - 1);
    case "ArrowLeft": return Math.max(at - 1, 0);
    case "ArrowDown": return vertical(1);
    case "ArrowUp": return vertical(-1);
    case "Home": return 0;
    case "End": return count - 1;
    default: return undefined;
  }
}

function GridCell({ cell, at, steps, failed, choose }: {
  cell: Cell;
  at: number;
  steps: Step[];
  failed: boolean;
  choose: (step: number) => void;
}) {
  if (cell.step < 0) {
    const [mark, meaning] = MARKS[cell.state];
    return <td role="gridcell" class={cell.state} title={meaning} aria-label={meaning}>{mark}</td>;
  }
  const step = steps[cell.step];
  const bad = failed && cell.step === steps.length - 1;
  const done = cell.step < at ? " done" : "";
  return (
    <td role="gridcell" id={`step-${cell.step}`} aria-selected={cell.step === at}
      class={`read ${step.dimension}${done}${bad ? " bad" : ""}${cell.step === at ? " now" : ""}`}
      aria-label={`step ${cell.step + 1}, ${step.dimension} level ${step.level} entry ${step.entry} at ${step.address}${bad ? ", where the walk ends" : ""}`}
      onClick={() => choose(cell.step)}>
      <b>{cell.step + 1}{bad ? " \u2715" : ""}</b><small>{step.entry}</small>
    </td>
  );
}

function Legend({ grid }: { grid: Grid }) {
  const states = new Set(grid.rows.flatMap((row) => row.cells.map((cell) => cell.state)));
  const shown = (["cached", "large", "result"] as const).filter((state) => states.has(state));
  const cells = (grid.guestLevels + 1) * (grid.eptLevels + 1);
  return (
    <p class="legend">
      {grid.eptLevels > 0 ? `(${grid.guestLevels}+1)(${grid.eptLevels}+1) = ${cells} cells, at most ${cells - 1} references. ` : ""}
      {shown.map((state) => <span><b>{MARKS[state][0]}</b> {MARKS[state][1]} </span>)}
    </p>
  );
}

function Entry({ walk, facts, steps, at }: { walk: Fields; facts: Facts; steps: Step[]; at: number }) {
  const step = steps[at];
  const entry = number(step.entry);
  const changed = entry ^ number(step.written_back);
  const size = step.dimension === "guest" && walk.paging === "32-bit" ? 4n : 8n;
  const about = translated(walk, steps, at);
  const bits = indexBits(walk, step);
  const index = (about.address >> BigInt(bits.low)) & ((1n << BigInt(bits.high - bits.low + 1)) - 1n);
  const table = number(step.address) - index * size;
  const parts = entryParts(facts, walk, step);
  const address = parts.find((part) => part.name.startsWith("address"));
  const last = at === steps.length - 1;
  const present = isPresent(step);
  return (
    <section class="entry" aria-label="The entry">
      <h4>{step.dimension} level {step.level} entry at {step.address}
        {step.machine_address !== step.address ? <small> (physical {step.machine_address})</small> : null}</h4>
      {step.dimension === "SPP" ? null : (
        <p>Bits {bits.high}:{bits.low} of the {about.name} {hex(about.address)} choose entry {index.toString()}.</p>
      )}
      <div class="drawing" aria-hidden="true">
        <div class="table"><i>table at {hex(table)}</i><i>{"\u22ee"}</i>
          <b>[{index.toString()}] {step.entry}</b><i>{"\u22ee"}</i></div>
        <span>{"\u2192"}</span>
        <div class={`table${present ? "" : " missing"}`}>
          <i>{!present ? "not present" : mapsPage(step) ? "page" : "next table"}</i>
          <b>{present && address ? address.value : "-"}</b>
        </div>
      </div>
      {last && walk.outcome !== "translated" ? (
        <p class="failure"><b>{"\u2715"} {String(walk.outcome)}</b>: {String(walk.rule ?? walk.why ?? "the walk ends here")}</p>
      ) : null}
      {last && walk.outcome === "translated" ? (
        <p class="success"><b>{"\u25ce"} physical address {String(walk.physical ?? "-")}</b></p>
      ) : null}
      <Bits value={number(step.written_back)} width={size === 4n ? 32 : 64} named={parts} changed={changed}
        label={`Entry ${step.entry}`} />
    </section>
  );
}
