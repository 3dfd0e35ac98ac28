// SPDX-License-Identifier: GPL-2.0-or-later
// All that the trace has on one event.
import { useEffect, useState } from "preact/hooks";
import { Bits, type Named } from "./bits";
import { duration, grouped, percent, symbol, title } from "./text";
import type { Facts, Fields, Part, PartList, Trace } from "./trace";
import { number } from "./walk";
import { WalkView } from "./walk_view";

const LOOK_BACK = 400; // events
const HIDDEN = new Set(["event", "cycle", "sequence", "cpu", "count", "steps", "before", "after"]);

function qualificationParts(facts: Facts, fields: Fields): Part[] {
  const lists: PartList[] = facts.qualifications[String(number(fields.reason_field) & 0xffffn)] ?? [];
  const vector = (fields.interruption as Record<string, unknown> | undefined)?.vector;
  const value = number(fields.qualification);
  return lists.find((list) =>
    (list.vector === undefined || list.vector === vector) &&
    (list.mask === undefined || (value & BigInt(list.mask)) === BigInt(list.value!)))?.parts ?? [];
}

function Qualification({ fields, facts }: { fields: Fields; facts: Facts }) {
  const value = number(fields.qualification);
  const parts = qualificationParts(facts, fields);
  const named: Named[] = [...parts].sort((a, b) => a.low - b.low).map((part) => {
    const part_value = (value >> BigInt(part.low)) & ((1n << BigInt(part.width)) - 1n);
    return { low: part.low, width: part.width, name: part.key, value: part.names?.[Number(part_value)] };
  });
  if (named.length === 0) return null;
  const high = Math.max(...named.map((part) => part.low + part.width), value.toString(2).length);
  return (
    <section aria-label="Exit qualification">
      <h3>Exit qualification {String(fields.qualification)}</h3>
      <Bits value={value} width={high > 32 ? 64 : high > 16 ? 32 : 16} named={named} label="Exit qualification" />
    </section>
  );
}

function Value({ value }: { value: unknown }) {
  if (value === true) return <>yes</>;
  if (value === false) return <>no</>;
  if (value !== null && typeof value === "object") {
    return (
      <>{Object.entries(value).map(([key, part], i) => (
        <>{i ? ", " : ""}{key}{part === true ? "" : ` ${String(part)}`}</>
      ))}</>
    );
  }
  return <>{String(value)}</>;
}

function FieldTable({ fields, meanings }: { fields: Fields; meanings: Record<string, string> }) {
  const rows = Object.entries(fields).filter(([key]) => !HIDDEN.has(key));
  if (rows.length === 0) return null;
  return (
    <table class="fields">
      <caption class="unseen">Fields of the event</caption>
      <tbody>
        {rows.map(([key, value]) => (
          <tr><th scope="row">{key.replace(/_/g, " ")}</th><td><Value value={value} />
            {meanings[key] ? <small>{meanings[key].replace(/`/g, "")}</small> : null}</td></tr>
        ))}
      </tbody>
    </table>
  );
}

function Failure({ fields }: { fields: Fields }) {
  return (
    <section class="failure" aria-label="Failed check">
      <p><b>{"\u2715"} {String(fields.field)} = {String(fields.value)}</b></p>
      <p>{String(fields.requirement)}</p>
      {fields.wrong_bits ? <p>{String(fields.wrong_bits)}</p> : null}
      <p><small>SDM, {"\u201c"}{String(fields.section)}{"\u201d"}; check {String(fields.check)}</small></p>
    </section>
  );
}

// The events of the processor that came between the last VM entry or VM exit and this event.
function before(trace: Trace, event: number): number[] {
  const found = [];
  for (let i = event - 1; i >= 0 && i >= event - LOOK_BACK; i--) {
    if (trace.processor[i] !== trace.processor[event]) continue;
    if (trace.kind[i] === trace.vmEntry || trace.kind[i] === trace.vmExit) break;
    found.push(i);
  }
  return found.reverse();
}

// What of the VMCS has changed with a VM exit, or before a VM entry: the event that says it.
function changeOf(trace: Trace, event: number): number | undefined {
  const kind = trace.meta.kinds.indexOf("vmcs-change");
  const by = trace.kind[event] === trace.vmExit ? 1 : -1;
  if (kind < 0 || (trace.kind[event] !== trace.vmExit && trace.kind[event] !== trace.vmEntry)) return undefined;
  for (let i = event + by; i >= 0 && i < trace.events && Math.abs(i - event) < LOOK_BACK; i += by)
    if (trace.processor[i] === trace.processor[event]) return trace.kind[i] === kind ? i : undefined;
  return undefined;
}

function Changes({ fields, facts }: { fields: Fields; facts: Facts }) {
  const [old, now] = [fields.before, fields.after] as (Record<string, unknown> | undefined)[];
  const rows = Object.entries(now ?? {});
  return (
    <section aria-label="VMCS fields that changed">
      <h3>VMCS fields changed by {String(fields.by)}</h3>
      <div class="scrolls"><table class="changes">
        <thead><tr><th scope="col">Field</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
        <tbody>{rows.map(([name, value]) => (
          <tr><th scope="row">{facts.vmcsFields[name] ?? name}</th><td><code>{String(old?.[name] ?? "")}</code></td>
            <td><code>{String(value)}</code></td></tr>
        ))}</tbody>
      </table></div>
    </section>
  );
}

// The VM entry that ends the handling of a VM exit.
function entryAfter(trace: Trace, event: number): number | undefined {
  for (let i = event + 1; i < trace.events && i < event + 100 * LOOK_BACK; i++)
    if (trace.kind[i] === trace.vmEntry && trace.processor[i] === trace.processor[event]) return i;
  return undefined;
}

// The walk that a VM exit is due to.
function walkOf(trace: Trace, event: number, earlier: number[]): number | undefined {
  if (!/^(EPT|SPP)/.test(trace.whatName(event))) return undefined;
  return earlier.filter((i) => trace.kindName(i) === "walk" && trace.whatName(i) !== "translated").pop();
}

export function Detail({ trace, event, select }: { trace: Trace; event: number; select: (event: number) => void }) {
  const [fields, setFields] = useState<{ event: number; own: Fields; walk?: Fields; change?: Fields }>();
  const kind = trace.kindName(event);
  const exit = kind === "vm-exit";
  const earlier = exit || kind === "vm-entry" ? before(trace, event) : [];
  useEffect(() => {
    let wanted = true;
    const more = [event, walkOf(trace, event, earlier), changeOf(trace, event)];
    const all = more.map((one) => (one === undefined ? undefined : trace.fields(one)));
    void Promise.all(all).then(([own, walk, change]) => {
      if (wanted) setFields({ event, own: own!, walk, change });
    });
    return () => { wanted = false; };
  }, [trace, event]);
  const heading = <h2>{symbol(kind)} {title(trace, event)}</h2>;
  if (fields?.event !== event) return <>{heading}</>;
  const { own, walk, change } = fields;
  const link = (to: number, text: string) => <button type="button" class="link" onClick={() => select(to)}>{text}</button>;
  return (
    <>
      {heading}
      <p class="where">
        Event {grouped(event)}{trace.count[event] > 1 ? `, ${grouped(trace.count[event])} times in a row` : ""}
        , at cycle {grouped(trace.cycle[event])} ({duration(trace.cycle[event], trace.facts.frequency)})
        {trace.processors > 1 ? `, processor ${trace.processor[event]}` : ""}
      </p>
      {exit ? <Cost trace={trace} event={event} link={link} /> : null}
      {kind === "check-failed" ? <Failure fields={own} /> : null}
      {exit && own.qualification !== undefined ? <Qualification fields={own} facts={trace.facts} /> : null}
      {walk ? <section aria-label="The walk that led here"><h3>The walk that led here</h3>
        <WalkView walk={walk} facts={trace.facts} /></section> : null}
      {change ? <Changes fields={change} facts={trace.facts} /> : null}
      {kind === "vmcs-change" ? <Changes fields={own} facts={trace.facts} /> : null}
      {kind === "walk" ? <WalkView walk={own} facts={trace.facts} /> : null}
      {kind === "check-failed" ? null : <section aria-label="Fields"><h3>Fields</h3>
        <FieldTable fields={own} meanings={trace.facts.kinds[kind]?.fields ?? {}} /></section>}
      {earlier.length > 0 ? (
        <section aria-label="Before it"><h3>Before it</h3>
          <ul>{earlier.slice(-12).map((i) => <li>{symbol(trace.kindName(i))} {link(i, title(trace, i))}</li>)}</ul>
        </section>
      ) : null}
      <details><summary>As it is in the trace</summary><pre>{JSON.stringify(own, null, 1)}</pre></details>
    </>
  );
}

function Cost({ trace, event, link }: {
  trace: Trace;
  event: number;
  link: (to: number, text: string) => preact.JSX.Element;
}) {
  const cost = trace.cost[event];
  const entry = cost >= 0 ? entryAfter(trace, event) : undefined;
  if (cost < 0) return <p>No VM entry of this processor follows.</p>;
  return (
    <p>L1 took <b>{grouped(cost)} cycles</b> ({duration(cost, trace.facts.frequency)},{" "}
      {percent(cost, trace.last - trace.first)} of the trace) until{" "}
      {entry === undefined ? "the next VM entry" : link(entry, "the next VM entry")}.</p>
  );
}
