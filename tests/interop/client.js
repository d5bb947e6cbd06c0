// SPDX-License-Identifier: Apache-2.0
//
// A stock gRPC client (@grpc/grpc-js) that knows only our .proto files. Prints TAP.
// Environment: TELEX_ADDRESS, TELEX_CA, TELEX_CERT, TELEX_KEY, top_srcdir; NODE_PATH finds the packages.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const proto = path.join(process.env.top_srcdir || '.', 'proto');
const definition = loader.loadSync(
  ['telex/v1/process.proto', 'telex/v1/system.proto', 'grpc/health/v1/health.proto'],
  { includeDirs: [proto], keepCase: true, longs: Number, enums: String, oneofs: true, defaults: true });
const api = grpc.loadPackageDefinition(definition);
const read = (name) => fs.readFileSync(process.env[name]);
const credentials = grpc.credentials.createSsl(read('TELEX_CA'), read('TELEX_KEY'), read('TELEX_CERT'));
const deadline = () => ({ deadline: Date.now() + 240000 });
const processes = new api.telex.v1.ProcessService(process.env.TELEX_ADDRESS, credentials);
const system = new api.telex.v1.SystemService(process.env.TELEX_ADDRESS, credentials);
const health = new api.grpc.health.v1.Health(process.env.TELEX_ADDRESS, credentials);

const unary = (client, method, request) => new Promise((resolve, reject) =>
  client[method](request, new grpc.Metadata(), deadline(), (error, response) =>
    error ? reject(error) : resolve(response)));

// run: resolves with both outputs and the exit, put together by offset.
function run(argv, stdin) {
  return new Promise((resolve, reject) => {
    const call = processes.Run(new grpc.Metadata(), deadline());
    const out = { OUTPUT_STREAM_STDOUT: Buffer.alloc(0), OUTPUT_STREAM_STDERR: Buffer.alloc(0) };
    let exit = null;
    call.on('data', (response) => {
      if (response.response === 'output') {
        const o = response.output;
        assert.strictEqual(o.offset, out[o.stream].length, 'a gap or an overlap in the output');
        out[o.stream] = Buffer.concat([out[o.stream], o.data]);
        call.write({ ack: { stream: o.stream, offset: out[o.stream].length } });
      } else if (response.response === 'exited') {
        exit = response.exited;
        call.end();
      }
    });
    call.on('error', reject);
    call.on('end', () => exit && resolve({ stdout: out.OUTPUT_STREAM_STDOUT, stderr: out.OUTPUT_STREAM_STDERR, exit }));
    call.write({ start: {
      process_id: crypto.randomBytes(16).toString('hex'),
      spec: { argv: argv.map((a) => Buffer.from(a)), stdin: stdin ? 'STDIN_MODE_PIPE' : 'STDIN_MODE_NULL' } } });
    for (let offset = 0; stdin && offset < stdin.length; offset += 60000) {
      call.write({ stdin: { offset, data: stdin.subarray(offset, offset + 60000) } });
    }
    if (stdin) {
      call.write({ stdin: { offset: stdin.length, eof: true } });
    }
  });
}

const tests = {
  async 'a command with stdin gives both streams and the typed exit'() {
    const r = await run(['sh', '-c', 'tr a-z A-Z; echo err >&2; exit 7'], Buffer.from('hello\n'));
    assert.strictEqual(r.stdout.toString(), 'HELLO\n');
    assert.strictEqual(r.stderr.toString(), 'err\n');
    assert.strictEqual(r.exit.status, 'code');
    assert.strictEqual(r.exit.code, 7);
    assert.strictEqual(r.exit.reason, 'END_REASON_EXITED');
  },
  async 'a death by signal is typed'() {
    const r = await run(['sh', '-c', 'kill -KILL $$']);
    assert.strictEqual(r.exit.status, 'signal');
    assert.strictEqual(r.exit.signal.name, 'SIGKILL');
  },
  async 'a megabyte through stdin comes back'() {
    const data = crypto.randomBytes(1 << 20);
    const r = await run(['cat'], data);
    assert.ok(r.stdout.equals(data));
  },
  async 'a failed start says so'() {
    // One that takes its time is queued, and its failure is an end then: this is of one that is answered at once.
    for (let i = 0; i < 50; i++) {
      const r = await run(['no-such-command']).catch((e) => e);
      if (!r.exit || r.exit.status !== 'not_started') {
        assert.strictEqual(r.code, grpc.status.NOT_FOUND);
        return;
      }
    }
    assert.fail('no start was over soon');
  },
  async 'info and health answer'() {
    const info = await unary(system, 'GetInfo', {});
    assert.strictEqual(info.tls.version, 'TLSv1.3');
    assert.ok(info.client_identity.startsWith('spiffe://'));
    const h = await unary(health, 'Check', { service: '' });
    assert.strictEqual(h.status, 'SERVING');
  },
};

(async () => {
  const names = Object.keys(tests);
  console.log(`1..${names.length}`);
  for (const [i, name] of names.entries()) {
    try {
      await tests[name]();
      console.log(`ok ${i + 1} - node: ${name}`);
    } catch (e) {
      String(e.stack || e).split('\n').forEach((line) => console.log('# ' + line));
      console.log(`not ok ${i + 1} - node: ${name}`);
    }
  }
  for (const client of [processes, system, health]) {
    client.close();
  }
})();
