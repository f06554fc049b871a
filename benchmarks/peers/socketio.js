// socket.io 4, WebSocket transport only: the 2012 design as it would be written today.
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const eachLine = require("./lines.js");
const answerOrder = require("./orders.js");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  socket.on("order-request", (data) => {
    const answer = JSON.parse(answerOrder(JSON.stringify({ event: "order-request", data })));
    socket.emit("order-response", answer.data);
  });
});
http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"));
eachLine((line) => io.emit("receive-execs", JSON.parse(line)));
