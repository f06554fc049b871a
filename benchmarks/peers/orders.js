// Shared by the Node peers: the same checks as the gateway's, and the same answer, on a parsed order-request.
"use strict";

const isName = (v) => (typeof v === "string" ? v.length > 0 && v.length <= 128 : Number.isFinite(v));

module.exports = function answerOrder(text) {
  const { event, data, id } = JSON.parse(text);
  if (event !== "order-request") return null;
  let reason = null;
  if (!isName(data.request)) reason = "request";
  else if (!Number.isFinite(data.timestamp) || data.timestamp < 0) reason = "timestamp";
  else if (!isName(data.address)) reason = "address";
  else if (!Array.isArray(data.execs) || data.execs.length < 1 || data.execs.length > 100) reason = "execs";
  else if (data.rows !== data.execs.length) reason = "rows";
  else if (!data.execs.every((row) => typeof row === "object" && typeof row.symbol === "string" && row.symbol)) reason = "symbol";
  const status = reason === null ? "accepted" : "rejected";
  const { request, timestamp, address } = data;
  const answer = { event: "order-response", data: { request, timestamp, address, status, reason } };
  if (id !== undefined) answer.id = id;
  return JSON.stringify(answer);
};
