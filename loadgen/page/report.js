// Draws the charts of a run from the JSON in the page; makes them anew where width, colours or paper change.
"use strict";
(() => {
  const run = JSON.parse(document.getElementById("run").textContent);
  const place = document.getElementById("charts");
  const column = (name) => run.points.map((point) => point[name] ?? null);
  const seconds = column("t_s");
  const has = (name) => run.points.some((point) => point[name] !== null && point[name] !== undefined);
  const number = (value) => (value === null || value === undefined ? "-" :
    Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3)));
  const latencies = (name) => ["p50", "p90", "p99", "p99.9", "max"].map((at) => [`${name}_${at}_ms`, at]);

  // title, [field of a point, label], logarithmic
  const charts = [
    ["Delivery latency, ms", latencies("delivery"), true],
    ["Order response time (from when it was due), ms", latencies("order"), true],
    ["Order service time (from the real send), ms", latencies("order_service"), true],
    ["Throughput, a second", [["delivered_per_s", "delivered"], ["orders_sent_per_s", "orders sent"],
      ["orders_answered_per_s", "orders answered"]], false],
    ["Connections", [["clients", "begun"], ["connected", "connected"]], false],
    ["Faults, in each record", [["lost", "lost"], ["duplicates", "duplicates"], ["reorders", "out of order"],
      ["errors", "errors"], ["orders_timed_out", "orders timed out"], ["disconnects", "disconnects"]], false],
    ["CPU, of a core (machine: of all)", [["client_cpu", "load generator"], ["server_cpu", "server"],
      ["machine_busy", "machine"]], false],
    ["Memory, MiB", [["client_rss_mib", "load generator"], ["server_rss_mib", "server"]], false],
    ["The load generator's lateness, ms", [["loop_lag_ms", "event loop"], ["behind_ms", "behind schedule"],
      ["unread_p99_ms", "read after it came, p99"]], false],
  ];
  const names = { delivery: "delivery", order: "order response", order_service: "order service",
    connect: "connect, from due", connect_service: "connect, from attempt" };

  let made = [];

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(name).trim();
    return { ink: value("--soft"), line: value("--line"), lines: [0, 1, 2, 3, 4, 5].map((n) => value(`--c${n}`)) };
  }

  // Draws a line up from each marked value of x, with its name where there is room for it.
  function upright(chart, marks) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.fillStyle = ctx.strokeStyle = colours().ink;
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.setLineDash([6, 4]);
    const ats = [...marks.map(({ at }) => chart.valToPos(at, "x", true)), bbox.left + bbox.width];
    marks.forEach(({ name }, number) => {
      ctx.beginPath();
      ctx.moveTo(ats[number], bbox.top);
      ctx.lineTo(ats[number], bbox.top + bbox.height);
      ctx.stroke();
      const room = ats[number + 1] - ats[number] - 8 * devicePixelRatio;
      if (name && ctx.measureText(name).width <= room) {
        ctx.fillText(name, ats[number] + 4 * devicePixelRatio, bbox.top - 4 * devicePixelRatio);
      }
    });
    ctx.restore();
  }

  // Where each stage of a scenario began: with the end of the last record of the one before.
  function stages() {
    const begins = (point, number) => number && point.stage !== run.points[number - 1].stage;
    const found = run.points.map((point, number) => ({ point, before: run.points[number - 1], number }))
      .filter(({ point, number }) => begins(point, number))
      .map(({ point, before }) => ({ at: before.t_s, name: point.stage }));
    return run.points.some(({ stage, phase }) => stage && stage !== phase) ? found : [];
  }

  function draw(title, data, shown, x, logarithmic) {
    const section = document.createElement("section");
    const heading = document.createElement("h2");
    heading.textContent = title;
    section.append(heading);
    place.append(section);
    const { ink, line, lines } = colours();
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const values = (_chart, splits) => splits.map((value) => (value === null ? "" : number(value)));
    made.push(new uPlot({
      width: section.clientWidth - 34,
      height: 230,
      cursor: { sync: { key: x.sync } },
      hooks: { draw: x.marks && x.marks.length ? [(chart) => upright(chart, x.marks)] : [] },
      scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
      axes: [{ ...axis, values: x.ticks, splits: x.splits }, { ...axis, size: 62, values }],
      series: [{ label: x.label, value: (_chart, value) => x.value(value) },
        ...shown.map(({ label, colour }) => ({ label, stroke: lines[colour], width: 1.5, spanGaps: true,
          points: { show: data[0].length < 3 || x.points }, value: (_chart, value) => number(value) }))],
    }, data, section));
  }

  function overTime() {
    const x = { label: "s", sync: "time", value: number, marks: stages(),
      ticks: (_chart, splits) => splits.map((value) => `${number(value)} s`) };
    for (const [title, fields, logarithmic] of charts) {
      const shown = fields.map(([field, label], colour) => ({ field, label, colour })).filter(({ field }) => has(field));
      if (!shown.length) continue;
      const positive = (value) => (logarithmic && value !== null && value <= 0 ? 0.001 : value);
      draw(title, [seconds, ...shown.map(({ field }) => column(field).map(positive))], shown, x, logarithmic);
    }
  }

  function byPercentile() {
    const shown = Object.keys(run.curves);
    if (!shown.length) return;
    const nines = (percent) => +(-Math.log10(1 - percent / 100)).toFixed(4);
    const all = [...new Set(shown.flatMap((name) => run.curves[name].map(([percent]) => nines(percent))))];
    all.sort((a, b) => a - b);
    const label = (value) => (value === null ? "-" : `${+(100 * (1 - 10 ** -value)).toFixed(4)} %`);
    const data = shown.map((name) => {
      const at = new Map(run.curves[name].map(([percent, ms]) => [nines(percent), Math.max(ms, 0.001)]));
      return all.map((value) => at.get(value) ?? null);
    });
    const splits = [Math.log10(2), 1, 2, 3, 4, 5, 6, 7, 8].filter((value) => value <= all[all.length - 1] + 1e-9);
    const labels = shown.map((name, colour) => ({ label: names[name], colour }));
    draw("Percentiles, ms", [all, ...data], labels, { label: "percentile", sync: "percentile",
      value: label, splits: () => splits, ticks: (_chart, at) => at.map(label) }, true);
  }

  function overLoad() {
    const { unit, points, knee } = run.load;
    const fields = [["p50_ms", "p50"], ["p99_ms", "p99"], ["slo_ms", "limit"]];
    const shown = fields.map(([field, label], colour) => ({ field, label, colour }))
      .filter(({ field }) => points.some((point) => point[field] !== null));
    const data = [points.map((point) => point.value),
      ...shown.map(({ field }) => points.map((point) => point[field] && Math.max(point[field], 0.001)))];
    draw(`Latency in ms over the load; the upright line is the knee`, data, shown, { label: unit, sync: "load",
      value: number, marks: knee ? [{ at: knee, name: "" }] : [], points: true, ticks: (_chart, splits) => splits.map(number) }, true);
  }

  function drawAll() {
    for (const chart of made) chart.destroy();
    made = [];
    place.replaceChildren();
    if (run.load && run.load.points.length) overLoad();
    if (!run.points.length) return;
    byPercentile();
    overTime();
  }

  let width = 0;
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width === width) return;
    width = entry.contentRect.width;
    drawAll();
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
})();
