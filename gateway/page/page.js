// The page at "/": connects to the gateway that served it, shows what streams, sends orders.
// It needs nothing from outside, and draws at most ten times a second whatever the rate is.
"use strict";

const SUBPROTOCOL = "execgate.1";
const ROWS_SHOWN = 25;
const LATENCIES_KEPT = 2000;
const CHART_SECONDS = 120;
const byId = (id) => document.getElementById(id);

let socket = null;
let retryMs = 500;
let paused = false;
let received = 0;
let receivedThisSecond = 0;
let position = null; // {epoch, seq} of the last update
let whoAmI = ""; // what hello said, without the epoch, which may change
let gaps = 0;
let orders = 0;
let latencies = [];
let waiting = []; // rows to be drawn
const rates = [];
const sentAt = new Map(); // request -> performance.now()

function show(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("send").disabled = socket === null || socket.readyState !== WebSocket.OPEN;
}

function connect() {
  show("connecting", "connecting");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws`, SUBPROTOCOL);
  socket.onopen = () => {
    retryMs = 500;
    send("subscribe-execs", {});
  };
  socket.onmessage = (message) => {
    const { event, data } = JSON.parse(message.data);
    const handle = handlers[event];
    if (handle) handle(data);
  };
  socket.onclose = (close) => {
    for (const request of sentAt.keys()) noteAnswer("unknown", `order ${request}: disconnected before its answer`);
    sentAt.clear();
    const wait = close.code === 4200 ? 0 : retryMs * (0.5 + Math.random());
    show("lost", `disconnected (${close.code}${close.reason ? ` ${close.reason}` : ""}), trying again`);
    retryMs = Math.min(retryMs * 2, 10000);
    setTimeout(connect, wait);
  };
}

function send(event, data) {
  socket.send(JSON.stringify({ event, data }));
}

const handlers = {
  hello(data) {
    whoAmI = `${data.gateway} · you are ${data.address}`;
    showEpoch(data.epoch);
  },
  subscribed(data) {
    position = { epoch: data.epoch, seq: data.seq };
    show("live", "live");
  },
  "receive-execs"(data) {
    received += 1;
    receivedThisSecond += 1;
    latencies.push(Math.max(0, Date.now() - data.ts_us / 1000));
    if (latencies.length > LATENCIES_KEPT) latencies = latencies.slice(-LATENCIES_KEPT / 2);
    if (position && position.epoch === data.epoch && data.seq > position.seq + 1) {
      noteGap(position.seq + 1, data.seq - 1, "not told");
    }
    position = { epoch: data.epoch, seq: data.seq };
    showLater(data);
  },
  gap(data) {
    noteGap(data.from, data.to, data.why);
    if (position) position.seq = Math.max(position.seq, data.to);
  },
  feed(data) {
    if (data.state === "live") show("live", "live");
    else if (data.state === "stale") show("stale", "the feed is silent");
    else {
      position = { epoch: data.epoch, seq: data.seq };
      showEpoch(data.epoch);
    }
  },
  drain(data) {
    show("connecting", `the gateway stops in ${data.after_ms / 1000} s`);
  },
  "order-response"(data) {
    const took = (performance.now() - sentAt.get(data.request)).toFixed(1);
    sentAt.delete(data.request);
    noteAnswer(data.status, `order ${data.request} ${data.status} in ${took} ms${data.reason ? `: ${data.reason}` : ""}`);
  },
  error(data) {
    noteAnswer("rejected", `${data.code}: ${data.message}`);
  },
};

function showEpoch(epoch) {
  byId("who").textContent = `${whoAmI} · epoch ${epoch}`;
}

function noteAnswer(status, text) {
  const answer = document.createElement("li");
  answer.className = status;
  answer.textContent = text;
  const list = byId("answers");
  list.prepend(answer);
  while (list.children.length > 3) list.lastChild.remove();
}

function showLater(update) {
  waiting.push(update);
  if (waiting.length > ROWS_SHOWN) waiting.shift();
}

function noteGap(from, to, why) {
  gaps += 1;
  showLater({ gap: `updates ${from} to ${to} are missing (${why})` });
}

function percentile(sorted, percent) {
  if (sorted.length === 0) return "–";
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))].toFixed(1);
}

function rowsOf(update) {
  if (update.gap) {
    const row = document.createElement("tr");
    row.className = "gap";
    const cell = row.insertCell();
    cell.colSpan = 8;
    cell.textContent = update.gap;
    return [row];
  }
  const time = new Date(update.timestamp).toISOString().slice(11, 23);
  return update.execs.map((exec) => {
    const row = document.createElement("tr");
    const fields = [update.seq, time, exec.symbol, exec.transaction, exec.qty, exec.price, exec.netAmount, exec.accountId];
    fields.forEach((value, column) => {
      const cell = row.insertCell();
      cell.textContent = value ?? "";
      if (column >= 4) cell.className = "n";
    });
    return row;
  });
}

function draw() {
  if (!paused) {
    const table = byId("execs");
    for (const update of waiting) for (const row of rowsOf(update)) table.prepend(row);
    waiting = [];
    while (table.rows.length > ROWS_SHOWN) table.lastElementChild.remove();
    byId("empty").hidden = table.rows.length > 0;
  }
  byId("received").textContent = received.toLocaleString("en");
  byId("seq").textContent = position ? position.seq.toLocaleString("en") : "–";
  byId("gaps").textContent = gaps;
}

function everySecond() {
  rates.push(receivedThisSecond);
  if (rates.length > CHART_SECONDS) rates.shift();
  byId("rate").textContent = receivedThisSecond;
  receivedThisSecond = 0;
  const sorted = [...latencies].sort((a, b) => a - b);
  byId("p50").textContent = percentile(sorted, 50);
  byId("p99").textContent = percentile(sorted, 99);
  drawChart();
}

function drawChart() {
  const canvas = byId("chart");
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const most = Math.max(1, ...rates);
  const colors = getComputedStyle(document.documentElement);
  pen.fillStyle = colors.getPropertyValue("--soft");
  pen.font = "11px system-ui, sans-serif";
  pen.fillText(`${most}/s`, 0, 12);
  pen.strokeStyle = colors.getPropertyValue("--line");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(0, height - 0.5);
  pen.lineTo(width, height - 0.5);
  pen.stroke();
  pen.strokeStyle = colors.getPropertyValue("--mark");
  pen.lineWidth = 1.5;
  pen.beginPath();
  rates.forEach((rate, i) => {
    const x = width - ((rates.length - 1 - i) * width) / (CHART_SECONDS - 1);
    const y = height - 2 - (rate / most) * (height - 20);
    if (i === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  });
  pen.stroke();
  pen.lineTo(width, height - 1);
  pen.lineTo(width - ((rates.length - 1) * width) / (CHART_SECONDS - 1), height - 1);
  pen.globalAlpha = 0.12;
  pen.fillStyle = colors.getPropertyValue("--mark");
  pen.fill();
}

byId("pause").onclick = () => {
  paused = !paused;
  byId("pause").textContent = paused ? "Resume" : "Pause";
};

byId("order").onsubmit = (submit) => {
  submit.preventDefault();
  orders += 1;
  const symbol = byId("symbol").value;
  const qty = Number(byId("qty").value), price = Number(byId("price").value);
  const exec = { symbol, qty, price, transaction: "BTO", key: `${symbol}:::S`, netAmount: qty * price };
  sentAt.set(orders, performance.now());
  send("order-request", { request: orders, rows: 1, timestamp: Date.now(), address: "page", execs: [exec] });
};

setInterval(draw, 100);
setInterval(everySecond, 1000);
connect();
