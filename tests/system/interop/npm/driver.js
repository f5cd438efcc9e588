// tests/system/interop/npm/driver.js -- msgpack5rpc: a line with a call in, a line with what came of it out, as in ../driver.py.
'use strict';
const net = require('net');
const readline = require('readline');
const Session = require('msgpack5rpc');

const fromJson = (key, value) =>
  value !== null && typeof value === 'object' && '$bin' in value ? Buffer.from(value.$bin, 'hex') : value;

function toJson(value) {
  if (Buffer.isBuffer(value)) return {$bin: value.toString('hex')};
  if (Array.isArray(value)) return value.map(toJson);
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, toJson(each)]));
  return value;
}

const session = new Session();
const socket = net.connect(Number(process.argv[3]), process.argv[2]);
session.attach(socket, socket);

const ask = (method, params) =>
  new Promise((resolve, reject) =>
    session.request(method, [params], (error, result) => (error ? reject(error) : resolve(result))));

const lines = readline.createInterface({input: process.stdin});
lines.on('line', async (line) => {
  const asked = JSON.parse(line, fromJson);
  let said;
  try {
    const all = Array.from({length: asked.times}, () => ask(asked.method, asked.ask));
    said = {ok: toJson(await Promise.all(all))};
  } catch (error) {
    said = {error: String(error)};
  }
  console.log(JSON.stringify(said));
});
lines.on('close', () => socket.end());
