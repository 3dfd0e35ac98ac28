// SPDX-License-Identifier: GPL-2.0-or-later
// VM exits by reason, and by the RIP that they happened at.
import { useMemo, useState } from "preact/hooks";
import type { Filter } from "./event_list";
import { grouped, percent } from "./text";
import type { Trace } from "./trace";

const MOST = 500; // rows

interface Line {
  reason: string;
  rip?: string;
  exits: number;
  handled: number; // those that a VM entry follows
  cycles: number;
  most: number;
}

function summarize(trace: Trace, byRip: boolean): Line[] {
  const lines = new Map<number, (Line & { high: number })[]>();
  for (let i = 0; i < trace.events; i++) {
    if (trace.kind[i] !== trace.vmExit) continue;
    const key = byRip ? trace.what[i] * 2 ** 32 + trace.ripLow[i] : trace.what[i];
    const high = byRip ? trace.ripHigh[i] : 0;
    let same = lines.get(key);
    if (!same) lines.set(key, (same = []));
    let line = same.find((one) => one.high === high);
    if (!line) {
      line = { reason: trace.whatName(i), rip: byRip ? trace.rip(i) : undefined, high, exits: 0, handled: 0, cycles: 0, most: 0 };
      same.push(line);
    }
    line.exits += trace.count[i];
    if (trace.cost[i] < 0) continue;
    line.handled++;
    line.cycles += trace.cost[i];
    line.most = Math.max(line.most, trace.cost[i]);
  }
  return [...lines.values()].flat();
}

type Key = "exits" | "cycles" | "average" | "most";
const COLUMNS: [Key, string][] = [["exits", "Exits"], ["cycles", "Cycles"], ["average", "Average"], ["most", "Longest"]];

function valueOf(line: Line, key: Key): number {
  return key === "average" ? line.cycles / Math.max(line.handled, 1) : line[key];
}

export function Summary({ trace, byRip, choose }: { trace: Trace; byRip: boolean; choose: (filter: Filter) => void }) {
  const lines = useMemo(() => summarize(trace, byRip), [trace, byRip]);
  const [order, setOrder] = useState<Key>("cycles");
  const sorted = useMemo(() => [...lines].sort((a, b) => valueOf(b, order) - valueOf(a, order)), [lines, order]);
  const total = lines.reduce((sum, line) => sum + line.cycles, 0);
  const exits = lines.reduce((sum, line) => sum + line.exits, 0);
  if (lines.length === 0) return <p>The trace has no VM exit.</p>;
  return (
    <div class="scrolls summary" tabIndex={0} role="region" aria-label={byRip ? "VM exits by RIP" : "VM exits by reason"}>
      <table>
        <thead>
          <tr>
            {byRip ? <th scope="col">RIP</th> : null}
            <th scope="col">Reason</th>
            {COLUMNS.map(([key, name]) => (
              <th scope="col" class={`number ${key}`} aria-sort={order === key ? "descending" : "none"}>
                <button type="button" class="link" onClick={() => setOrder(key)}>{name}{order === key ? " \u25be" : ""}</button>
              </th>
            ))}
            <th scope="col" class="number">Time</th>
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, MOST).map((line) => (
            <tr>
              {byRip ? <td><code>{line.rip}</code></td> : null}
              <td><button type="button" class="link" onClick={() => choose({ kind: "vm-exit", what: line.reason, rip: line.rip })}>
                {line.reason}</button></td>
              <td class="number">{grouped(line.exits)}</td>
              {COLUMNS.slice(1).map(([key]) => <td class={`number ${key}`}>{grouped(valueOf(line, key))}</td>)}
              <td class="number share"><span class="bar" style={{ width: `${(100 * line.cycles) / Math.max(total, 1)}%` }} />
                {percent(line.cycles, total)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="legend">{grouped(exits)} VM exits. Cycles are those from a VM exit to the next VM entry.
        {sorted.length > MOST ? ` The first ${MOST} of ${grouped(sorted.length)} rows are shown.` : ""}</p>
    </div>
  );
}
