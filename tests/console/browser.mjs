// Chromium without a window, and what is held of every page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { output } from './service.mjs';

// The packages are with the build output; the checkout stays as it is.
const require = createRequire(`${output}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 360, height: 740 };

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--headless=new'] });

/**
 * Carries `steps` out on a page of its own and then holds that nothing went
 * wrong beside them: no error in the console, no refusal of the policy, no
 * request elsewhere, and of statuses of 400 and above those in `expected`.
 */
export async function onPage(browser, service, { expected = [], ...options }, steps) {
  const context = await browser.newContext({ viewport: WIDE, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  const wrong = [];
  const statuses = [];
  page.on('pageerror', (error) => wrong.push(`thrown: ${error.message}`));
  page.on('console', (message) => {
    // The browser's own line on a status, which is held below.
    const isStatus = message.text().startsWith('Failed to load resource: the server responded with a status of');
    if (['error', 'warning'].includes(message.type()) && !isStatus) wrong.push(message.text());
  });
  page.on('requestfailed', (request) => {
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') wrong.push(`failed: ${request.url()}`);
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== service.origin) wrong.push(`elsewhere: ${request.url()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) statuses.push(response.status());
  });
  try {
    await steps(page);
    assert.deepEqual(wrong, []);
    assert.deepEqual([...new Set(statuses)].sort(), expected);
  } catch (error) {
    await page.screenshot({ path: join(output, 'failed.png'), fullPage: true });
    throw error;
  } finally {
    await context.close();
  }
}

/** No finding of axe, and nothing beyond the edge of the screen. */
export async function isUsable(page, what) {
  await page.evaluate(axe);
  const { violations, incomplete, passes } = await page.evaluate(() => globalThis.axe.run(document));
  const told = (found) => found.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target} ${any[0]?.message ?? ''}`));
  assert.deepEqual(told(violations), [], what);
  assert.deepEqual(told(incomplete), [], `${what}: what axe could not decide`);
  assert.ok(passes.length > 15, what);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${what} is wider than the screen`);
}

export const picture = (page, name) => page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
