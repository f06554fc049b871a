// uWebSockets.js: native publish to a topic that every socket has subscribed to, as its docs recommend.
"use strict";
const uws = require("uwebsockets");
const eachLine = require("./lines.js");
const answerOrder = require("./orders.js");

const decoder = new TextDecoder();
const app = uws.App().ws("/ws", {
  compression: uws.DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 64 * 1024 * 1024,
  open: (socket) => socket.subscribe("execs"),
  message: (socket, message) => {
    const answer = answerOrder(decoder.decode(message));
    if (answer !== null) socket.send(answer);
  },
});
app.listen("127.0.0.1", Number(process.argv[2]), (token) => {
  if (!token) process.exit(1);
  console.log("ready");
});
eachLine((line) => {
  app.publish("execs", Buffer.concat([Buffer.from('{"event":"receive-execs","data":'), line, Buffer.from("}")]), false);
});
