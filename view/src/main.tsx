// SPDX-License-Identifier: GPL-2.0-or-later
import { render, type ComponentChildren } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Detail } from "./detail";
import { EventList, filtered, type Filter } from "./event_list";
import { Summary } from "./summary";
import { duration, grouped } from "./text";
import { showing, Timeline, wholeRange } from "./timeline";
import { Trace } from "./trace";

const TABS = ["Events", "By reason", "By RIP"] as const;
type Tab = (typeof TABS)[number];

function Tabs({ tab, setTab }: { tab: Tab; setTab: (tab: Tab) => void }) {
  const onKey = (event: KeyboardEvent) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (by === 0) return;
    const next = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length];
    setTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="What of the trace" onKeyDown={onKey}>
      {TABS.map((name) => (
        <button type="button" role="tab" id={`tab-${name}`} aria-selected={tab === name} aria-controls="panel"
          tabIndex={tab === name ? 0 : -1} onClick={() => setTab(name)}>{name}</button>
      ))}
    </div>
  );
}

function Filters({ trace, filter, setFilter, size, children }: {
  trace: Trace;
  filter: Filter;
  setFilter: (filter: Filter) => void;
  size: number;
  children: ComponentChildren;
}) {
  return (
    <div class="filters">
      <label>Kind <select value={filter.kind ?? ""} onChange={(event) => setFilter({ kind: event.currentTarget.value || undefined })}>
        <option value="">all</option>
        {trace.meta.kinds.map((kind) => <option value={kind}>{kind}</option>)}
      </select></label>
      {filter.what ? <span>{filter.what}</span> : null}
      {filter.rip ? <code>{filter.rip}</code> : null}
      {filter.what || filter.rip ? <button type="button" onClick={() => setFilter({})}>Show all</button> : null}
      {children}
      <span role="status">{grouped(size)} of {grouped(trace.events)}</span>
    </div>
  );
}

// Goes from one event to the next whose line in the trace has a text.
function Find({ trace, shown, selected, select }: {
  trace: Trace;
  shown: Uint32Array | undefined;
  selected: number;
  select: (event: number) => void;
}) {
  const [text, setText] = useState("");
  const [state, setState] = useState("");
  const latest = useRef(0);
  const go = async (by: 1 | -1) => {
    if (text === "") return;
    const mine = ++latest.current;
    setState("looks for it");
    const found = await trace.find(text, selected, by, shown, () => mine !== latest.current);
    if (mine !== latest.current) return;
    setState(found < 0 ? "not found" : "");
    if (found >= 0) select(found);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    void go(event.shiftKey ? -1 : 1);
  };
  return (
    <>
      <label>Find <input type="search" value={text} size={14} onInput={(event) => setText(event.currentTarget.value)} onKeyDown={onKey} /></label>
      <button type="button" aria-label="The one before" onClick={() => void go(-1)}>{"\u2191"}</button>
      <button type="button" aria-label="The next one" onClick={() => void go(1)}>{"\u2193"}</button>
      <span role="status">{state}</span>
    </>
  );
}

function App({ trace }: { trace: Trace }) {
  const [selected, setSelected] = useState(-1);
  const [range, setRange] = useState(() => wholeRange(trace));
  const [tab, setTab] = useState<Tab>("Events");
  const [filter, setFilter] = useState<Filter>({});
  const shown = useMemo(() => filtered(trace, filter), [trace, filter]);
  const detail = useRef<HTMLElement>(null);
  const select = useCallback((event: number) => {
    setSelected(event);
    setRange((now) => showing(trace, now, event));
  }, [trace]);
  useEffect(() => {
    if (detail.current) detail.current.scrollTop = 0;
  }, [selected]);
  const choose = (one: Filter) => {
    setFilter(one);
    setTab("Events");
  };
  return (
    <>
      <header>
        <h1>{trace.meta.name}</h1>
        <p>{grouped(trace.events)} events in {duration(trace.last - trace.first, trace.facts.frequency)} of virtual time</p>
      </header>
      {trace.meta.notes.map((note) => <p class="note" role="note"><b>!</b> {note}</p>)}
      <Timeline trace={trace} range={range} setRange={setRange} selected={selected} select={select} />
      <main class={selected >= 0 ? "open" : ""}>
        <section class="left">
          <Tabs tab={tab} setTab={setTab} />
          <div id="panel" class="panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
            {tab === "Events" ? (
              <>
                <Filters trace={trace} filter={filter} setFilter={setFilter} size={shown ? shown.length : trace.events}>
                  <Find trace={trace} shown={shown} selected={selected} select={select} />
                </Filters>
                <EventList trace={trace} shown={shown} selected={selected} select={select} />
              </>
            ) : <Summary trace={trace} byRip={tab === "By RIP"} choose={choose} />}
          </div>
        </section>
        <section class="detail" ref={detail} aria-label="The selected event" tabIndex={0}>
          {selected >= 0 ? (
            <>
              <button type="button" class="close" onClick={() => setSelected(-1)}>Close</button>
              <Detail trace={trace} event={selected} select={select} />
            </>
          ) : <p class="legend">Choose an event in the list or on the timeline to see all that the trace has on it.</p>}
        </section>
      </main>
    </>
  );
}

async function main() {
  const begun = performance.now();
  const place = document.getElementById("page")!;
  try {
    const trace = await Trace.load();
    document.title = `${trace.meta.name}: a trace of Nestor`;
    place.textContent = "";
    render(<App trace={trace} />, place);
    place.dataset.loaded = (performance.now() - begun).toFixed(0); // milliseconds
  } catch (error) {
    place.textContent = `This page is damaged: ${String(error)}`;
  }
}

void main();
