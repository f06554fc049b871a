// Shared by the Node peers: calls back with each whole line that comes on standard input, as a Buffer.
"use strict";

module.exports = function eachLine(take) {
  let rest = Buffer.alloc(0);
  process.stdin.on("data", (chunk) => {
    let data = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0, end;
    while ((end = data.indexOf(10, at)) >= 0) {
      take(data.subarray(at, end));
      at = end + 1;
    }
    rest = Buffer.from(data.subarray(at));
  });
  process.stdin.on("end", () => process.exit(0));
};
