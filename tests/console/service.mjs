// The service as a process, with a private PostgreSQL that is thrown away.

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = new URL('../..', import.meta.url).pathname;
export const output = join(root, 'target/ci-console');
const binary = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug/devicegraph');
const NAME = 'https://devicegraph.localhost';

export const COLLECTION = '/v1.0/deviceManagement/deviceConfigurations';

/** A service that runs with these settings, and with `tokens` one that asks for them. */
export class Service {
  static async start({ tokens = false, settings = {} } = {}) {
    const service = new Service();
    service.folder = mkdtempSync(join(tmpdir(), 'devicegraph-console-'));
    // PostgreSQL's account is to get there.
    chmodSync(service.folder, 0o755);
    const data = join(service.folder, 'postgres');
    // Of the settings in the environment, only the limits of tests/limits.sh are passed on.
    const limits = Object.entries(process.env).filter(([name]) => /^DEVICEGRAPH__DATABASE__[A-Z]+_TIMEOUT_MS$/.test(name));
    service.environment = {
      ...Object.fromEntries(limits), PATH: process.env.PATH, DEVICEGRAPH__SERVER__PORT: '0', DEVICEGRAPH__DATABASE__DATA_DIR: data,
      ...settings,
    };
    if (tokens) {
      service.token = service.command('token').trim();
      Object.assign(service.environment, {
        DEVICEGRAPH__AUTH__MODE: 'jwt', DEVICEGRAPH__AUTH__ISSUER: NAME, DEVICEGRAPH__AUTH__AUDIENCE: NAME,
        DEVICEGRAPH__AUTH__JWKS_FILE: join(data, 'jwks.json'),
      });
    }
    await service.#listen();
    return service;
  }

  /** What a subcommand prints. */
  command(...words) {
    return execFileSync(binary, words, { cwd: this.folder, env: this.environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  }

  async #listen() {
    const { folder: cwd, environment: env } = this;
    this.process = spawn(binary, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
    const seen = [];
    this.process.on('error', (error) => seen.push(error.message));
    for await (const line of createInterface({ input: this.process.stderr })) {
      seen.push(line);
      this.origin = line.match(/listening on (http:\/\/[\d.:]+)/)?.[1];
      if (this.origin) break;
    }
    if (!this.origin) throw new Error(`the service does not start:\n${seen.join('\n')}`);
    // A pipe that nobody reads would hold the service up.
    this.process.stderr.resume();
  }

  /** An answer of the API, parsed. */
  async call(method, path, body) {
    const headers = { 'Content-Type': 'application/json', ...(this.token && { Authorization: `Bearer ${this.token}` }) };
    const response = await fetch(this.origin + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  create(type, displayName, more = {}) {
    return this.call('POST', COLLECTION, { '@odata.type': `#microsoft.graph.${type}`, displayName, ...more });
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
