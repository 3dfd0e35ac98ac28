// SPDX-License-Identifier: GPL-2.0-or-later
// The timeline: a lane for each level of each processor. What is narrower than a pixel is added up
// to the share of the pixel that it takes.
import { useEffect, useRef, useState } from "preact/hooks";
import { duration, title } from "./text";
import { firstThat, type Lane, type Spans, type Trace } from "./trace";

const LANE = 40;
const AXIS = 24;
const LABEL = 62; // pixels at the left
const MARK = 7; // pixels of a mark: one each

interface Colours {
  text: string;
  faint: string;
  line: string;
  l1: string;
  l2: string;
  l1Text: string;
  l2Text: string;
  bad: string;
  mark: string;
  select: string;
}

function colours(element: Element): Colours {
  const style = getComputedStyle(element);
  const get = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: get("text"), faint: get("faint"), line: get("line"), l1: get("l1"), l2: get("l2"),
    l1Text: get("l1-text"), l2Text: get("l2-text"), bad: get("bad"), mark: get("mark"), select: get("select"),
  };
}

export interface Range {
  from: number;
  to: number;
}

// Steps of 1, 2 or 5 times a power of ten.
function tickStep(span: number, most: number): number {
  const rough = span / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough) ?? 10 * power;
}

// The time of all spans up to a moment.
function sumUntil(spans: Spans, at: number): number {
  const i = firstThat(spans.end.length, (k) => spans.end[k] > at);
  return spans.sum[i] + (i < spans.end.length ? Math.max(at - spans.start[i], 0) : 0);
}

// The share of each pixel, of spans that are too many to be drawn one by one.
function drawShares(context: CanvasRenderingContext2D, spans: Spans, top: number, width: number, range: Range) {
  const pixel = (range.to - range.from) / width;
  let before = sumUntil(spans, range.from);
  let first = firstThat(spans.start.length, (i) => spans.end[i] >= range.from);
  for (let x = 0; x < width; x++) {
    const end = range.from + (x + 1) * pixel;
    const until = sumUntil(spans, end);
    const next = firstThat(spans.start.length, (i) => spans.start[i] >= end);
    if (until > before || next > first) {
      const height = Math.max(Math.min((until - before) / pixel, 1) * (LANE - 12), 3);
      context.fillRect(LABEL + x, top + LANE - 6 - height, 1, height);
    }
    before = until;
    first = next;
  }
}

function drawSpans(context: CanvasRenderingContext2D, trace: Trace, lane: Lane, top: number, width: number,
  range: Range, palette: Colours) {
  const { start, end, event } = lane.spans;
  const scale = width / (range.to - range.from);
  const shape = lane.level === 1 ? palette.l1 : palette.l2;
  context.fillStyle = shape;
  const first = firstThat(end.length, (i) => end[i] >= range.from);
  const last = firstThat(start.length, (i) => start[i] > range.to);
  if (last - first > width / 2) {
    drawShares(context, lane.spans, top, width, range);
    return;
  }
  for (let i = first; i < last; i++) {
    const left = Math.max((start[i] - range.from) * scale, 0);
    const right = Math.min((end[i] - range.from) * scale, width);
    const room = right - left;
    context.fillStyle = shape;
    // What is narrow is low, so that it does not look like more than it is.
    const height = room >= 2 ? LANE - 12 : Math.max(room * (LANE - 12), 3);
    context.fillRect(LABEL + left, top + LANE - 6 - height, Math.max(room - 1, 1), height);
    if (room < 40) continue;
    context.fillStyle = lane.level === 1 ? palette.l1Text : palette.l2Text;
    context.save();
    context.beginPath();
    context.rect(LABEL + left + 3, top, room - 8, LANE);
    context.clip();
    context.fillText(lane.level === 1 ? trace.whatName(event[i]) : "L2", LABEL + left + 5, top + LANE / 2);
    context.restore();
  }
}

// Marks of what happens beside VM entries and VM exits, one in each place; a failure rather than
// another.
function drawMarks(context: CanvasRenderingContext2D, trace: Trace, lane: Lane, top: number, width: number,
  range: Range, palette: Colours) {
  const place = ((range.to - range.from) / width) * MARK;
  const within = (list: Uint32Array, from: number, to: number): number => {
    const i = firstThat(list.length, (k) => trace.cycle[list[k]] >= from);
    return i < list.length && trace.cycle[list[i]] < to ? list[i] : -1;
  };
  const y = top + 6;
  for (let from = range.from; from < range.to; from += place) {
    const failure = within(lane.failures, from, from + place);
    const event = failure >= 0 ? failure : within(lane.marks, from, from + place);
    if (event < 0) continue;
    const x = LABEL + ((trace.cycle[event] - range.from) / place) * MARK;
    context.strokeStyle = context.fillStyle = failure >= 0 ? palette.bad : palette.mark;
    context.beginPath();
    if (failure >= 0) {
      context.lineWidth = 2;
      context.moveTo(x - 3, y - 3);
      context.lineTo(x + 3, y + 3);
      context.moveTo(x + 3, y - 3);
      context.lineTo(x - 3, y + 3);
      context.stroke();
    } else {
      context.arc(x, y, 2, 0, 7);
      context.fill();
    }
  }
}

function draw(canvas: HTMLCanvasElement, trace: Trace, range: Range, selected: number) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = AXIS + LANE * trace.lanes.length;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d")!;
  const palette = colours(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const inner = Math.max(width - LABEL, 1);
  const scale = inner / (range.to - range.from);
  // The axis counts from the beginning of the trace's clock, in units of time.
  const seconds = trace.facts.frequency;
  const step = tickStep(range.to - range.from, inner / 110);
  for (let at = Math.ceil(range.from / step) * step; at <= range.to; at += step) {
    const x = LABEL + (at - range.from) * scale;
    context.fillStyle = palette.line;
    context.fillRect(x, 0, 1, height);
    context.fillStyle = palette.faint;
    context.fillText(duration(at, seconds), x + 3, AXIS / 2);
  }
  trace.lanes.forEach((lane, i) => {
    const top = AXIS + i * LANE;
    context.fillStyle = palette.line;
    context.fillRect(0, top, width, 1);
    drawSpans(context, trace, lane, top, Math.floor(inner), range, palette);
    context.fillStyle = palette.text;
    context.fillText(lane.name, 6, top + LANE / 2);
    drawMarks(context, trace, lane, top, inner, range, palette);
  });
  if (selected >= 0) {
    const x = LABEL + (trace.cycle[selected] - range.from) * scale;
    if (x >= LABEL) {
      context.fillStyle = palette.select;
      context.fillRect(x - 1, 0, 2, height);
      context.beginPath();
      context.moveTo(x - 5, 0);
      context.lineTo(x + 5, 0);
      context.lineTo(x, 7);
      context.fill();
    }
  }
}

export function wholeRange(trace: Trace): Range {
  const margin = Math.max((trace.last - trace.first) * 0.01, 1);
  return { from: trace.first - margin, to: trace.last + margin };
}

export function zoomed(trace: Trace, range: Range, factor: number, at: number): Range {
  const whole = wholeRange(trace);
  const span = Math.min(Math.max((range.to - range.from) * factor, 8), whole.to - whole.from);
  const part = (at - range.from) / (range.to - range.from);
  return moved(trace, { from: at - part * span, to: at + (1 - part) * span }, 0);
}

function moved(trace: Trace, range: Range, by: number): Range {
  const whole = wholeRange(trace);
  const span = range.to - range.from;
  const from = Math.min(Math.max(range.from + by, whole.from), Math.max(whole.to - span, whole.from));
  return { from, to: from + span };
}

// The range with an event in it.
export function showing(trace: Trace, range: Range, event: number): Range {
  const at = trace.cycle[event];
  if (at >= range.from && at <= range.to) return range;
  return moved(trace, range, at - (range.from + range.to) / 2);
}

export function Timeline({ trace, range, setRange, selected, select }: {
  trace: Trace;
  range: Range;
  setRange: (range: Range) => void;
  selected: number;
  select: (event: number) => void;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const pointers = useRef(new Map<number, number>());
  const dragged = useRef(0);
  const [size, setSize] = useState(0);
  useEffect(() => {
    const redraw = () => setSize((n) => n + 1);
    const observer = new ResizeObserver(redraw);
    observer.observe(canvas.current!);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", redraw);
    };
  }, []);
  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      const begun = performance.now();
      draw(canvas.current!, trace, range, selected);
      canvas.current!.dataset.drawn = (performance.now() - begun).toFixed(1); // milliseconds
    });
    return () => cancelAnimationFrame(frame);
  }, [trace, range, selected, size]);

  const inner = () => Math.max(canvas.current!.clientWidth - LABEL, 1);
  const cycleAt = (x: number) => range.from + (Math.max(x - LABEL, 0) / inner()) * (range.to - range.from);
  const offset = (event: PointerEvent | WheelEvent) => event.clientX - canvas.current!.getBoundingClientRect().left;

  const onWheel = (event: WheelEvent) => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      setRange(moved(trace, range, (event.deltaX / inner()) * (range.to - range.from)));
    } else {
      setRange(zoomed(trace, range, Math.exp(event.deltaY / 400), cycleAt(offset(event))));
    }
  };
  const onDown = (event: PointerEvent) => {
    canvas.current!.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, offset(event));
    dragged.current = 0;
  };
  const onMove = (event: PointerEvent) => {
    const before = pointers.current.get(event.pointerId);
    if (before === undefined) return;
    const now = offset(event);
    const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
    pointers.current.set(event.pointerId, now);
    dragged.current += Math.abs(now - before);
    if (other === undefined) {
      setRange(moved(trace, range, ((before - now) / inner()) * (range.to - range.from)));
    } else {
      const factor = Math.max(Math.abs(before - other), 1) / Math.max(Math.abs(now - other), 1);
      setRange(zoomed(trace, range, factor, cycleAt((now + other) / 2)));
    }
  };
  const onUp = (event: PointerEvent) => {
    const known = pointers.current.delete(event.pointerId);
    if (!known || dragged.current > 4) return;
    const y = event.clientY - canvas.current!.getBoundingClientRect().top;
    select(nearest(cycleAt(offset(event)), Math.floor((y - AXIS) / LANE)));
  };
  // The span under the pointer, or the event nearest to it.
  const nearest = (cycle: number, row: number): number => {
    const lane = trace.lanes[row];
    if (lane) {
      const { start, end, event } = lane.spans;
      const i = firstThat(end.length, (k) => end[k] >= cycle);
      if (i < start.length && start[i] <= cycle) return event[i];
    }
    const after = Math.min(trace.atCycle(cycle), trace.events - 1);
    const closer = after > 0 && cycle - trace.cycle[after - 1] < trace.cycle[after] - cycle;
    return closer ? after - 1 : after;
  };
  const onKey = (event: KeyboardEvent) => {
    const middle = selected >= 0 ? trace.cycle[selected] : (range.from + range.to) / 2;
    const within = Math.min(Math.max(middle, range.from), range.to);
    if (event.key === "ArrowRight") select(Math.min(selected + 1, trace.events - 1));
    else if (event.key === "ArrowLeft") select(Math.max(selected - 1, 0));
    else if (event.key === "Home") select(0);
    else if (event.key === "End") select(trace.events - 1);
    else if (event.key === "+" || event.key === "=") setRange(zoomed(trace, range, 0.5, within));
    else if (event.key === "-") setRange(zoomed(trace, range, 2, within));
    else if (event.key === "0") setRange(wholeRange(trace));
    else return;
    event.preventDefault();
  };
  // A wheel must not scroll the page as well, which only a listener that is not passive can stop.
  const wheel = useRef(onWheel);
  wheel.current = onWheel;
  useEffect(() => {
    const listen = (event: WheelEvent) => wheel.current(event);
    canvas.current!.addEventListener("wheel", listen, { passive: false });
    return () => canvas.current?.removeEventListener("wheel", listen);
  }, []);
  const middle = (range.from + range.to) / 2;
  return (
    <section class="timeline" aria-label="Timeline">
      <canvas ref={canvas} tabIndex={0} role="application" aria-roledescription="timeline"
        style={{ height: `${AXIS + LANE * trace.lanes.length}px` }}
        aria-label={`Timeline with ${trace.lanes.length} lanes. Left and right go from event to event, plus and minus zoom, 0 shows all.${selected >= 0 ? ` Selected: ${title(trace, selected)}.` : ""}`}
        onKeyDown={onKey} onPointerDown={onDown} onPointerMove={onMove} onPointerUp={onUp}
        onPointerCancel={(event) => pointers.current.delete(event.pointerId)} />
      <div class="tools" role="group" aria-label="Zoom">
        <button type="button" onClick={() => setRange(zoomed(trace, range, 0.5, middle))} aria-label="Zoom in">+</button>
        <button type="button" onClick={() => setRange(zoomed(trace, range, 2, middle))} aria-label="Zoom out">{"\u2212"}</button>
        <button type="button" onClick={() => setRange(wholeRange(trace))}>All</button>
        <span>{duration(range.to - range.from, trace.facts.frequency)} shown</span>
        <span class="keys">drag to move, wheel to zoom; {"\u2715"} is a failure, {"\u2022"} another event</span>
      </div>
    </section>
  );
}
