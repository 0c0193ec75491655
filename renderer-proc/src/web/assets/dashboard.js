// The page itself: an application of `window.electron`, as it would be in Electron. It draws what main pushes.
"use strict";

/* global electron, ringbridge */
const element = (id) => document.getElementById(id);

/** How much of the past the charts show, in milliseconds. */
const SPAN_MS = 60_000;
/** How many lines of answers are kept, and how much of a long one is shown. */
const LINES_MAX = 100;
const SHOWN_MAX = 4000;
/** Between two looks at figures that are read by people, in milliseconds. */
const READ_EVERY_MS = 250;

// --- figures -----------------------------------------------------------------------------------------

const GIB = 2 ** 30;
const count = new Intl.NumberFormat("en");

function show(id, text) {
  const node = element(id);
  if (node.textContent !== text) node.textContent = text;
}

/** `[number, unit]`, or dashes for what is not known. */
function time(ns) {
  if (ns === null || ns === undefined) return ["–", ""];
  if (ns < 1e3) return [`${ns}`, "ns"];
  if (ns < 1e6) return [(ns / 1e3).toFixed(ns < 1e4 ? 2 : 1), "µs"];
  return [(ns / 1e6).toFixed(1), "ms"];
}

function size(bytes) {
  return bytes < GIB ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / GIB).toFixed(1)} GiB`;
}

const percent = (value) => (value === null ? "–" : value.toFixed(0));

function showTime(id, ns) {
  const [number, unit] = time(ns);
  if (element(`${id}-unit`) === null) show(id, `${number} ${unit}`.trim());
  else {
    show(id, number);
    show(`${id}-unit`, unit);
  }
}

// --- charts ------------------------------------------------------------------------------------------

const style = getComputedStyle(document.documentElement);
const color = (name) => style.getPropertyValue(`--${name}`).trim();
const seriesColor = (index) => color(`series-${index % 8}`);

/** Lines over the last minute. The newest point is at the right, and everything moves to the left. */
class Chart {
  constructor(id, { top = null, filled = true, label = (value) => `${value}` } = {}) {
    Object.assign(this, { canvas: element(id), top, filled, label, points: [], scale: 0 });
    this.context = this.canvas.getContext("2d");
  }

  add(at, values) {
    this.points.push({ at, values });
    // One from before the span is kept, so that the line comes in from the edge.
    while (this.points.length > 2 && this.points[1].at < at - SPAN_MS) this.points.shift();
  }

  draw(now) {
    const { canvas, context, points } = this;
    const ratio = window.devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    let highest = 0;
    let lines = 0;
    for (const { values } of points) {
      lines = Math.max(lines, values.length);
      for (const value of values) highest = Math.max(highest, value ?? 0);
    }
    // It grows at once, and shrinks slowly.
    const wanted = this.top ?? nice(highest);
    this.scale = wanted >= this.scale ? wanted : Math.max(wanted, this.scale * 0.98);
    const x = (at) => width - ((now - at) / SPAN_MS) * width;
    const y = (value) => height - 1 - (value / (this.scale || 1)) * (height - 16);
    this.grid(width, height, y);
    for (let line = 0; line < lines; line += 1) this.line(line, x, y, height);
  }

  grid(width, height, y) {
    const { context } = this;
    context.strokeStyle = color("grid");
    context.lineWidth = 1;
    context.beginPath();
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(y(part * this.scale)) + 0.5;
      context.moveTo(0, Math.min(at, height - 0.5));
      context.lineTo(width, Math.min(at, height - 0.5));
    }
    context.stroke();
    if (this.scale > 0) {
      context.fillStyle = color("quiet");
      context.font = "11px system-ui, sans-serif";
      context.fillText(this.label(this.scale), 2, y(this.scale) - 4);
    }
  }

  line(index, x, y, height) {
    const { context } = this;
    let first = null;
    let last = null;
    context.beginPath();
    for (const { at, values } of this.points) {
      const value = values[index] ?? null;
      if (value === null) continue;
      // The first lineTo of a path only begins it.
      context.lineTo(x(at), y(value));
      first ??= at;
      last = at;
    }
    if (first === null) return;
    context.strokeStyle = seriesColor(index);
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.stroke();
    if (!this.filled) return;
    context.lineTo(x(last), height);
    context.lineTo(x(first), height);
    context.globalAlpha = 0.12;
    context.fillStyle = seriesColor(index);
    context.fill();
    context.globalAlpha = 1;
  }
}

/** A round number that is a little more. */
function nice(value) {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * power).find((step) => step >= value * 1.05) ?? 15 * power;
}

const charts = {
  cpu: new Chart("cpu-chart", { top: 100, filled: false, label: (value) => `${value} %` }),
  memory: new Chart("memory-chart", { label: size }),
  rate: new Chart("rate-chart", { label: (value) => `${count.format(value)}/s` }),
  latency: new Chart("latency-chart", { label: (value) => time(value).join(" ") }),
  trip: new Chart("trip-chart", { label: (value) => time(value).join(" ") }),
};

// --- what main pushes --------------------------------------------------------------------------------

const drawn = { updates: 0, pushes: 0, since: performance.now() };
let latest = null;
let sampledAt = null;
let readAt = 0;

function takeStatistics(stats, { count: pushes }) {
  const now = performance.now();
  latest = stats;
  drawn.updates += 1;
  drawn.pushes += pushes;
  if (stats.sampledAt !== sampledAt) {
    // The machine is sampled more rarely than it is told of.
    sampledAt = stats.sampledAt;
    if (stats.coreUsage.length > 0) charts.cpu.add(now, stats.coreUsage);
    if (stats.memoryTotal > 0) {
      charts.memory.top = stats.memoryTotal;
      charts.memory.add(now, [stats.memoryUsed]);
    }
  }
  if (now - readAt >= READ_EVERY_MS) {
    readAt = now;
    showStatistics(stats);
  }
  for (const chart of Object.values(charts)) chart.draw(now);
}

function showStatistics(stats) {
  show("cpu", percent(stats.cpuUsage));
  showCores(stats.coreUsage);
  const used = size(stats.memoryUsed).split(" ");
  show("memory", used[0]);
  show("memory-unit", used[1]);
  show("memory-total", size(stats.memoryTotal));
  show("swap", stats.swapTotal === 0 ? "none" : `${size(stats.swapUsed)} of ${size(stats.swapTotal)}`);
  show("load", stats.load[0] === null ? "–" : stats.load[0].toFixed(2));
  const usage = stats.mainCpuUsage === null ? "" : `, ${percent(stats.mainCpuUsage)} %`;
  show("main-memory", `${size(stats.mainMemory)}${usage}`);
}

function showCores(usage) {
  const list = element("cores");
  while (list.children.length < usage.length) {
    const index = list.children.length;
    const item = document.createElement("li");
    item.innerHTML = '<svg viewBox="0 0 12 12" aria-hidden="true"><rect width="12" height="12" rx="3"/></svg><span></span>';
    item.querySelector("rect").style.fill = `var(--series-${index % 8})`;
    list.append(item);
  }
  while (list.children.length > usage.length) list.lastChild.remove();
  usage.forEach((value, index) => {
    list.children[index].querySelector("span").textContent = `core ${index}: ${percent(value)} %`;
  });
}

function showDrawn() {
  const now = performance.now();
  const seconds = (now - drawn.since) / 1000;
  const updates = drawn.updates / seconds;
  show("updates", `${updates.toFixed(0)}/s`);
  show("conflated", drawn.updates === 0 ? "–" : `${(drawn.pushes / drawn.updates).toFixed(1)} pushes`);
  Object.assign(drawn, { updates: 0, pushes: 0, since: now });
}

setInterval(showDrawn, 1000);

ringbridge.onMeters((meters) => {
  const now = performance.now();
  charts.rate.add(now, [meters.pushesPerSecond]);
  charts.latency.add(now, [meters.push.p50]);
  charts.trip.add(now, [meters.roundTrip.p50]);
  show("rate", count.format(meters.pushesPerSecond));
  show("received", count.format(meters.received));
  show("lag", latest === null ? "–" : `${count.format(Math.max(0, meters.lastSequence - latest.sequence))} pushes`);
  showTime("latency", meters.push.p50);
  showTime("trip", meters.roundTrip.p50);
  for (const [name, figures] of [["latency", meters.push], ["trip", meters.roundTrip]]) {
    for (const figure of ["p50", "p99", "max"]) {
      if (element(`${name}-${figure}`) !== null) showTime(`${name}-${figure}`, figures[figure]);
    }
  }
  show("lost", count.format(meters.lost));
  show("out-of-order", count.format(meters.outOfOrder));
  show("failed", count.format(meters.failedInvokes));
});

// --- pausing -----------------------------------------------------------------------------------------

let stop = electron.on("statistics", takeStatistics);

element("pause").addEventListener("click", () => {
  const paused = stop !== null;
  if (paused) {
    // Who does not listen is not told anything.
    stop();
    stop = null;
  } else {
    stop = electron.on("statistics", takeStatistics);
  }
  element("pause").setAttribute("aria-pressed", `${paused}`);
  show("pause", paused ? "Go on" : "Pause");
});

// --- the session -------------------------------------------------------------------------------------

const LINKS = {
  connecting: ["connecting", ""],
  closed: ["renderer gone", "The renderer process is gone. If it was started again, open the address that it printed."],
  refused: ["no token", "This page has no token: open the address that renderer-proc printed."],
  gone: ["main gone", "The main process is gone. This page goes on when it has been started again."],
  open: ["live", ""],
};
let renderer = null;

ringbridge.onState(({ link, why, session }) => {
  // Before the first word of the renderer process nobody knows whether main is there.
  const name = link === "open" && session === null ? "gone" : link;
  const [text, banner] = LINKS[name];
  element("link").dataset.link = name;
  show("link", text);
  element("banner").hidden = banner === "";
  show("banner", why === "" ? banner : `${banner} (${why})`);
  showPolicy(session);
  if (session !== null && session.renderer !== renderer) askWhatMachineThisIs();
  renderer = session?.renderer ?? null;
});

function showPolicy(session) {
  show("session", session === null ? "no session" : `window ${session.renderer}, process ${session.pid}`);
  const items = (session?.channels ?? []).map(({ name, call, allowed }) => {
    const item = document.createElement("li");
    const code = document.createElement("code");
    code.textContent = `${call}("${name}")`;
    const verdict = document.createElement("span");
    verdict.className = allowed ? "allowed" : "denied";
    verdict.textContent = allowed ? "✓ allowed" : "✗ denied";
    item.append(code, verdict);
    return item;
  });
  element("policy").replaceChildren(...items);
}

async function timedSystemInfo() {
  const began = performance.now();
  const info = await electron.invoke("get-system-info");
  showTime("trip-page", Math.round((performance.now() - began) * 1e6));
  return info;
}

async function askWhatMachineThisIs() {
  try {
    const info = await timedSystemInfo();
    show("machine", `${info.hostName}: ${info.cores} cores of ${info.cpuModel}, ${size(info.totalMemory)}, ${info.os}`);
  } catch (error) {
    show("machine", error.message);
  }
}

// --- talking to main ---------------------------------------------------------------------------------

function answer(text, isError = false) {
  const line = document.createElement("div");
  const at = document.createElement("time");
  at.textContent = new Date().toTimeString().slice(0, 8);
  line.append(at, text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)} …` : text);
  line.classList.toggle("error", isError);
  const output = element("output");
  output.append(line);
  while (output.children.length > LINES_MAX) output.firstChild.remove();
  output.scrollTop = output.scrollHeight;
}

function onSubmit(id, act) {
  element(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      answer(await act());
    } catch (error) {
      answer(error.message, true);
    }
  });
}

onSubmit("log-form", () => {
  electron.send("log-message", element("log").value);
  return `sent: ${element("log").value}`;
});

onSubmit("info-form", async () => JSON.stringify(await timedSystemInfo(), null, 2));

onSubmit("file-form", async () => {
  const path = element("file").value;
  const text = await electron.invoke("read-file", path);
  return `${path}, ${count.format(text.length)} characters:\n${text}`;
});

ringbridge.onError(({ channel, message }) => answer(`${channel}: ${message}`, true));

// The charts show that nothing comes, too.
setInterval(() => {
  const now = performance.now();
  if (stop !== null && document.visibilityState === "visible" && drawn.updates === 0) {
    for (const chart of Object.values(charts)) chart.draw(now);
  }
}, 200);
