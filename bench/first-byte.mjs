// From POST /api/sessions to the first byte of a nonce that the command prints, at a WebSocket client, one session
// after the other, on a `cliscale up` that this script starts itself (process launcher, local folder).
//
//   cargo build --release --bins && node --experimental-websocket bench/first-byte.mjs [RUNS] [CLISCALE] [STANDBYS]
//
// RUNS: 50. CLISCALE: target/release/cliscale. STANDBYS: 0, so that every start is a cold one.
// Prints minimum, p50, p95 and maximum in milliseconds.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const runs = Number(process.argv[2] ?? 50);
const cliscale = process.argv[3] ?? "target/release/cliscale";
const standbys = process.argv[4] ?? "0";
const folder = mkdtempSync(join(tmpdir(), "cliscale-bench-"));
const code = join(folder, "code");
mkdirSync(code);

const data = join(folder, "data");
// Lingering: a warm start may be over before the client has come.
const args = ["up", "--listen", "127.0.0.1:0", "--data-dir", data, "--create-rate", "10000/min", "--linger-secs", "2"];
const server = spawn(cliscale, [...args, "--pool-min", standbys, "--log", "error"], { stdio: ["ignore", "pipe", "inherit"] });
const said = {};
for await (const line of createInterface({ input: server.stdout })) {
  if (line === "") break;
  said[line.slice(0, line.indexOf("="))] = line.slice(line.indexOf("=") + 1);
}
const headers = {
  Authorization: `Bearer ${readFileSync(said.api_key_file, "utf8").trim()}`,
  "Content-Type": "application/json",
};

async function measure() {
  const nonce = randomBytes(16).toString("hex");
  const body = JSON.stringify({ code_url: code, command: `printf ${nonce}`, install_cmd: "" });
  const begin = performance.now();
  const answer = await fetch(`${said.api_url}/api/sessions`, { method: "POST", headers, body });
  if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
  const { webSocketUrl } = await answer.json();
  const socket = new WebSocket(webSocketUrl, ["tty.r1"]);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(Buffer.from('{"AuthToken":"","columns":80,"rows":24}'));
  return new Promise((resolve, reject) => {
    let output = "";
    let first;
    socket.onmessage = ({ data }) => {
      const frame = Buffer.from(data);
      if (frame[0] === 0x30) output += frame.subarray(1).toString("latin1");
      if (first === undefined && output.includes(nonce)) first = performance.now() - begin;
    };
    socket.onclose = () => (first === undefined ? reject(new Error(`no nonce in ${output}`)) : resolve(first));
  });
}

try {
  await measure(); // The first pays for connections and caches that a server at work has.
  const times = [];
  for (let run = 0; run < runs; run++) times.push(await measure());
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)].toFixed(1);
  console.log(`POST to first byte, ${runs} runs: min ${at(0.0001)} p50 ${at(0.5)} p95 ${at(0.95)} max ${at(1)} ms`);
} finally {
  server.kill("SIGTERM");
  await new Promise((resolve) => server.on("exit", resolve));
  rmSync(folder, { recursive: true, force: true });
}
