// SPDX-License-Identifier: GPL-2.0-or-later
// The list of events. Only the rows that are seen exist.
import { useEffect, useRef, useState } from "preact/hooks";
import { brief, duration, grouped, shortTitle, symbol } from "./text";
import { firstThat, type Trace } from "./trace";

const ROW = 28; // pixels
const TALLEST = 12_000_000; // pixels: browsers lay out no more than some 17 million

export interface Filter {
  kind?: string;
  what?: string;
  rip?: string;
}

export function filtered(trace: Trace, filter: Filter): Uint32Array | undefined {
  if (!filter.kind && !filter.what && !filter.rip) return undefined; // all
  const kind = filter.kind ? trace.meta.kinds.indexOf(filter.kind) : -1;
  const what = filter.what ? trace.meta.whats.indexOf(filter.what) : -1;
  const rip = filter.rip ? BigInt(filter.rip) : 0n;
  const low = Number(rip & 0xffffffffn);
  const high = Number(rip >> 32n);
  const found = new Uint32Array(trace.events);
  let size = 0;
  for (let i = 0; i < trace.events; i++) {
    if (kind >= 0 && trace.kind[i] !== kind) continue;
    if (what >= 0 && trace.what[i] !== what) continue;
    if (filter.rip && (trace.ripLow[i] !== low || trace.ripHigh[i] !== high)) continue;
    found[size++] = i;
  }
  return found.slice(0, size);
}

// Where an event is in the list, or the one before it.
function placeOf(shown: Uint32Array | undefined, event: number): number {
  if (!shown) return event;
  return Math.max(firstThat(shown.length, (i) => shown[i] > event) - 1, 0);
}

function Brief({ trace, event }: { trace: Trace; event: number }) {
  const [, again] = useState(0);
  const now = trace.fieldsNow(event);
  useEffect(() => {
    if (now) return;
    let wanted = true;
    // Not for rows that are scrolled over.
    const timer = setTimeout(() => void trace.fields(event).then(() => wanted && again((n) => n + 1)), 60);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [trace, event, !now]);
  const text = now ? brief(now) : "...";
  return <span title={text}>{text}</span>;
}

export function EventList({ trace, shown, selected, select }: {
  trace: Trace;
  shown: Uint32Array | undefined; // undefined: all
  selected: number;
  select: (event: number) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 300 });
  const size = shown ? shown.length : trace.events;
  const full = size * ROW;
  const tall = Math.min(full, TALLEST);
  // How far the list moves for each pixel of the scroll bar.
  const ratio = full > tall ? (full - view.height) / (tall - view.height) : 1;
  const first = Math.max(Math.floor((view.top * ratio) / ROW) - 4, 0);
  const count = Math.ceil(view.height / ROW) + 8;
  const place = selected >= 0 ? placeOf(shown, selected) : -1;

  useEffect(() => {
    const element = box.current!;
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight || 300 });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = box.current!;
    if (place < 0) return;
    const top = (element.scrollTop * ratio);
    const wanted = place * ROW;
    if (wanted >= top && wanted + ROW <= top + element.clientHeight) return;
    element.scrollTop = Math.max(wanted - element.clientHeight / 3, 0) / ratio;
  }, [place, shown]);

  const onKey = (event: KeyboardEvent) => {
    const page = Math.max(Math.floor(view.height / ROW) - 1, 1);
    const by: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in by) || size === 0) return;
    event.preventDefault();
    const to = Math.min(Math.max(place + by[event.key], 0), size - 1);
    select(shown ? shown[to] : to);
  };
  const rows = [];
  const shift = view.top - view.top * ratio; // of where rows would be without the ratio
  for (let i = first; i < Math.min(first + count, size); i++) {
    const event = shown ? shown[i] : i;
    const kind = trace.kindName(event);
    const bad = trace.isFailure(event);
    rows.push(
      <div key={event} id={`event-${event}`} role="option" aria-selected={event === selected} aria-setsize={size}
        aria-posinset={i + 1} class={`row ${kind}${bad ? " bad" : ""}${event === selected ? " now" : ""}`}
        style={{ transform: `translateY(${i * ROW + shift}px)` }} onClick={() => select(event)}>
        <span class="number">{grouped(event)}</span>
        <span class="time">{duration(trace.cycle[event], trace.facts.frequency)}</span>
        <span class="level">{trace.processors > 1 ? `${trace.processor[event]}:` : ""}L{trace.level[event]}</span>
        <span class={trace.hasRip(event) ? "what" : "what wide"}>{symbol(kind)} {shortTitle(trace, event)}{trace.count[event] > 1 ? ` \u00d7${grouped(trace.count[event])}` : ""}</span>
        {trace.hasRip(event) ? <span class="rip" title={trace.rip(event)}>{trace.shortRip(event)}</span> : null}
        <span class="brief"><Brief trace={trace} event={event} /></span>
      </div>,
    );
  }
  return (
    <div ref={box} class="list" role="listbox" tabIndex={0} aria-label="Events" onKeyDown={onKey}
      aria-activedescendant={selected >= 0 ? `event-${selected}` : undefined}
      onScroll={() => setView({ top: box.current!.scrollTop, height: box.current!.clientHeight })}>
      <div style={{ height: `${tall}px` }} role="presentation">{rows}</div>
    </div>
  );
}
