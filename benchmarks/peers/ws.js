// ws (Node), as its README broadcasts, with the frame prepared once and given to each socket's sender.
"use strict";
const { WebSocketServer, Sender } = require("ws");
const eachLine = require("./lines.js");
const answerOrder = require("./orders.js");

const server = new WebSocketServer(
  { port: Number(process.argv[2]), host: "127.0.0.1", path: "/ws", perMessageDeflate: false, backlog: 4096 },
  () => console.log("ready"));
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data) => {
    const answer = answerOrder(data);
    if (answer !== null) socket.send(answer);
  });
});
eachLine((line) => {
  const data = Buffer.concat([Buffer.from('{"event":"receive-execs","data":'), line, Buffer.from("}")]);
  const frame = Buffer.concat(Sender.frame(data, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false }));
  for (const client of server.clients) if (client.readyState === 1) client._socket.write(frame);
});
