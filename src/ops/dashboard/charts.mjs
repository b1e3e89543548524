// Charts over time, drawn by Chart.js. The only module that knows it: to draw with something else, change this one.
//
// A canvas says nothing to a screen reader, so each chart has a sentence (its label) and the same figures as a table.

import "./chart.js";
import { byId, el, keepTable } from "./dom.mjs";
import { minute, time } from "./format.mjs";

const { Chart } = globalThis;
const DASHES = { solid: [], dashed: [6, 4], dotted: [1.5, 3.5] };
const TABLE_ROWS = 12;
const charts = new Set();

/** A colour that the style sheet names, as the browser resolves it in the present mode. */
function colour(name, alpha = 1) {
  const probe = byId("colour-probe");
  probe.style.color = `var(--${name})`;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

const stepOf = (minutes) => (minutes <= 6 ? 1 : minutes <= 12 ? 2 : minutes <= 20 ? 3 : 10) * 60_000;

export class TimeChart {
  #chart;
  #figure;
  #conf;
  #samples = [];
  #minutes = 60;

  /**
   * @id: of a figure with the class `chart`. @conf: series [{name, colour, value(sample), dash}], format(value),
   * summary(samples), bars (stacked) or lines, logarithmic, min, max.
   */
  constructor(id, conf) {
    this.#conf = conf;
    this.#figure = byId(id);
    const canvas = el("canvas", { role: "img" });
    const table = el("table", {}, el("caption", { class: "out-of-sight" }, `${this.#heading()}, as a table`));
    this.#figure.append(
      this.#legend(),
      el("div", { class: "plot" }, canvas),
      el("details", {}, el("summary", {}, "As a table"),
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${this.#heading()}, as a table` }, table)));
    this.#chart = new Chart(canvas, {
      type: conf.bars ? "bar" : "line",
      data: { datasets: conf.series.map(() => ({ data: [] })) },
      options: this.#options(),
    });
    charts.add(this);
    this.restyle();
  }

  #heading() {
    return this.#figure.querySelector("h2").textContent;
  }

  #legend() {
    return el("ul", { class: "legend" }, ...this.#conf.series.map((series) =>
      el("li", {}, el("span", { class: "swatch", "data-colour": series.colour, "data-dash": this.#conf.bars ? "bar" : series.dash ?? "solid" }),
        series.name)));
  }

  #options() {
    const { format, bars, logarithmic, min, max } = this.#conf;
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      normalized: true,
      interaction: { mode: "index", intersect: false, axis: "x" },
      layout: { padding: { top: 4 } },
      scales: {
        x: {
          type: "linear", stacked: Boolean(bars), offset: false,
          grid: { display: false }, border: { display: false },
          ticks: { maxRotation: 0, autoSkip: true, autoSkipPadding: 16, callback: (at) => minute(at) },
        },
        y: {
          type: logarithmic ? "logarithmic" : "linear", stacked: Boolean(bars), min, max,
          beginAtZero: !logarithmic, grace: max === undefined && !logarithmic ? "8%" : undefined,
          ticks: { maxTicksLimit: 6, callback: (value) => (logarithmic && !isPowerOfTen(value) ? null : format(value)) },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          boxPadding: 4, padding: 10, cornerRadius: 6,
          callbacks: {
            title: ([item]) => (item ? time(item.parsed.x) : ""),
            label: (item) => ` ${item.dataset.label}: ${format(item.parsed.y)}`,
          },
        },
      },
    };
  }

  /** Colours and type anew, after the mode has changed. */
  restyle() {
    const options = this.#chart.options;
    const muted = colour("muted");
    const font = { family: getComputedStyle(document.body).fontFamily, size: 11 };
    for (const scale of Object.values(options.scales)) Object.assign(scale.ticks, { color: muted, font });
    options.scales.y.grid = { color: colour("line"), drawBorder: false };
    options.scales.x.grid = { display: false, drawBorder: false };
    Object.assign(options.plugins.tooltip, {
      backgroundColor: colour("surface"), borderColor: colour("line-strong"), borderWidth: 1,
      titleColor: colour("text"), bodyColor: colour("text"), titleFont: font, bodyFont: font,
    });
    this.#conf.series.forEach((series, i) => Object.assign(this.#chart.data.datasets[i], this.#style(series)));
    this.#draw();
  }

  #style({ name, colour: named, dash = "solid", fill }) {
    const line = colour(named);
    if (this.#conf.bars) return { label: name, backgroundColor: line, barPercentage: 1, categoryPercentage: 1 };
    return {
      label: name, borderColor: line, backgroundColor: colour(named, 0.14), fill: Boolean(fill), borderWidth: 1.75,
      borderDash: DASHES[dash], borderCapStyle: dash === "dotted" ? "round" : "butt", pointRadius: 0, pointHitRadius: 8,
      pointHoverRadius: 3, spanGaps: false, tension: 0.25, cubicInterpolationMode: "monotone",
    };
  }

  /** Shows @samples (oldest first, each with `at`) of the last @minutes. */
  show(samples, minutes) {
    this.#samples = samples;
    this.#minutes = minutes;
    this.#draw();
    this.#chart.canvas.setAttribute("aria-label", `${this.#heading()}. ${this.#conf.summary(samples)}`);
    this.#tabulate();
  }

  #draw() {
    const times = this.#samples.map((sample) => Date.parse(sample.at));
    const end = times.at(-1) ?? Date.now();
    const { x } = this.#chart.options.scales;
    x.max = end;
    x.min = Math.max(end - this.#minutes * 60_000, Math.min(times[0] ?? end, end - 60_000)); // none before the start
    x.afterBuildTicks = (scale) => {
      scale.ticks = wholeTicks(scale.min, scale.max, stepOf((scale.max - scale.min) / 60_000));
    };
    this.#conf.series.forEach((series, i) => {
      this.#chart.data.datasets[i].data = this.#samples.map((sample, at) => ({ x: times[at], y: series.value(sample) ?? NaN }));
    });
    this.#chart.update(); // not "none": bars would keep the colours they have
  }

  #tabulate() {
    const every = Math.max(1, Math.ceil(this.#samples.length / TABLE_ROWS));
    const rows = this.#samples.filter((_, i) => (this.#samples.length - 1 - i) % every === 0).reverse();
    keepTable(this.#figure.querySelector("table"), [
      { name: "Time", head: true, text: (sample) => time(sample.at) },
      ...this.#conf.series.map((series) => ({
        name: series.name, number: true, text: (sample) => this.#conf.format(series.value(sample)) })),
    ], rows, (sample) => sample.at);
  }

  static restyleAll() {
    for (const chart of charts) chart.restyle();
  }
}

/** Whole minutes of the reader's own clock. */
function wholeTicks(from, to, step) {
  const shift = new Date(to).getTimezoneOffset() * 60_000;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push({ value: at });
  return ticks;
}

const isPowerOfTen = (value) => Math.abs(Math.log10(value) % 1) < 1e-9;
