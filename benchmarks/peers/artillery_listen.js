// Artillery's part of the comparison: its WebSocket engine times no push by itself, a scenario's function may.
"use strict";
const warmUpMs = Number(process.env.WARM_UP_S) * 1000;
const endMs = warmUpMs + Number(process.env.SECONDS) * 1000;

function listen(context, events, done) {
  const began = performance.now();
  context.ws.on("message", (data) => {
    const now = performance.now();
    if (now - began < warmUpMs) return;
    const message = JSON.parse(data);
    if (message.event !== "receive-execs") return;
    events.emit("histogram", "delivery_ms", performance.timeOrigin + now - message.data.ts_us / 1000);
  });
  setTimeout(done, endMs);
}

module.exports = { listen };
