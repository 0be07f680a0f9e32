// The console in Chromium, on the service itself.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { NARROW, WIDE, isUsable, launch, onPage, picture } from './browser.mjs';
import { COLLECTION, Service } from './service.mjs';

const GROUP = '7d1f2a34-5b6c-4d7e-8f90-1a2b3c4d5e6f';
// What a shell, a filter and an address each take for something else.
const ODD = `O'Brien "100%" & $(id) \`x\` \\ + #1 <b>ü</b>`;
const MANY = 60;

let service;
let guarded;
let browser;

before(async () => {
  // One after the other: what was started before a failure is then ended.
  browser = await launch();
  service = await Service.start();
  guarded = await Service.start({ tokens: true });
  const number = (index) => String(index + 1).padStart(2, '0');
  for (let index = 0; index < MANY; index += 1) await service.create('iosUpdateConfiguration', `iOS ring ${number(index)}`);
  await service.create('macOSCustomConfiguration', ODD, { payloadName: 'a', payloadFileName: 'b', payload: 'YQ==' });
  const setting = { '@odata.type': '#microsoft.graph.omaSettingString', displayName: 'Banner', omaUri: './Vendor/MSFT/Banner', value: 'Hello' };
  await service.create('windows10CustomConfiguration', 'Windows baseline', { description: 'For every desk.', omaSettings: [setting] });
  await guarded.create('iosUpdateConfiguration', 'Behind a token');
});

after(async () => {
  await browser?.close();
  await Promise.all([service?.stop(), guarded?.stop()]);
});

const names = (page) => page.getByRole('rowheader').allInnerTexts();
const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
const counted = (page, text) => page.getByRole('heading', { level: 2, name: text, exact: true }).waitFor();
const status = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();
// Without standard input: a socket there makes bash read the settings of whoever runs this.
const bash = (text, environment = {}) =>
  execFileSync('bash', ['-c', text], { encoding: 'utf8', env: { PATH: process.env.PATH, ...environment }, stdio: ['ignore', 'pipe', 'inherit'] });
/** The command for the last request. */
const command = (page) => page.locator('#request-list code').first().textContent();

async function open(page, of = service, at = '') {
  await page.goto(`${of.origin}/${at}`);
}

async function search(page, name) {
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: 'Search' }).click();
}

async function openNew(page, type, name) {
  const { id } = await service.create(type, name);
  await open(page, service, `#/configurations/${id}`);
  await heading(page, name);
  return `${COLLECTION}/${id}/assignments`;
}

test('search, type, pages and back', () => onPage(browser, service, {}, async (page) => {
  await open(page);
  await counted(page, `${MANY + 2} configurations`);
  assert.equal((await names(page)).length, 50);
  await page.getByRole('link', { name: 'Next page' }).click();
  await page.getByText('This is the last page.').waitFor();
  assert.equal((await names(page)).length, 12);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
  await page.reload();
  await page.getByText('This is the last page.').waitFor();
  await page.goBack();
  await page.getByRole('link', { name: 'Next page' }).waitFor();

  await search(page, 'RING 0');
  await counted(page, '9 configurations');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  await page.getByLabel('Match').selectOption('startswith');
  await page.getByRole('button', { name: 'Search' }).click();
  await counted(page, '0 configurations');
  await search(page, 'iOS ring 0');
  await counted(page, '9 configurations');

  await search(page, '');
  await page.getByLabel('Type').selectOption('windows10CustomConfiguration');
  await page.getByRole('button', { name: 'Search' }).click();
  await counted(page, '1 configuration');
  assert.deepEqual(await names(page), ['Windows baseline']);
  await page.goBack();
  await counted(page, `${MANY + 2} configurations`);
  await page.goBack();
  await counted(page, '9 configurations');
  assert.equal(await page.getByLabel('Name').inputValue(), 'iOS ring 0');
}));

test('what is typed while an answer is on its way stays', () => onPage(browser, service, {}, async (page) => {
  /** Does `steps` while the next request of the method is held back. */
  const meanwhile = async (method, begin, steps) => {
    let release;
    const released = new Promise((resolve) => { release = resolve; });
    let reached;
    const held = new Promise((resolve) => { reached = resolve; });
    const hold = async (route) => {
      if (route.request().method() === method) {
        reached();
        await released;
      }
      await route.fallback();
    };
    await page.route(/deviceConfigurations/, hold);
    await begin();
    await held;
    await steps();
    release();
    await page.unroute(/deviceConfigurations/, hold);
  };
  await open(page);
  await counted(page, `${MANY + 2} configurations`);
  await meanwhile('GET', () => search(page, 'RING 0'), async () => {
    await page.getByLabel('Type').selectOption('windows10CustomConfiguration');
    await page.getByLabel('Name').fill('');
    await page.keyboard.type('base');
  });
  await counted(page, '9 configurations');
  await page.keyboard.type('line');
  assert.equal(await page.getByLabel('Name').inputValue(), 'baseline');
  await page.keyboard.press('Enter');
  await counted(page, '1 configuration');
  // What is typed and not asked for does not stand over rows that it is not of.
  await page.getByLabel('Name').fill('something else');
  await page.goBack();
  await counted(page, '9 configurations');
  assert.equal(await page.getByLabel('Name').inputValue(), 'RING 0');
  assert.equal(await page.getByLabel('Type').inputValue(), '');

  const assignments = await openNew(page, 'iosUpdateConfiguration', 'Typed ahead');
  await page.getByLabel('Group id').fill(GROUP);
  await meanwhile('POST', () => page.getByRole('button', { name: 'Add' }).click(), () => page.getByLabel('Group id').fill('the next one'));
  await status(page, `Assigned to: Group ${GROUP}`);
  assert.equal(await page.getByLabel('Group id').inputValue(), 'the next one');
  await service.call('DELETE', assignments.replace('/assignments', ''));
}));

const SAMPLE = 'Load a sample of eight configurations';

test('an empty store: a first request to copy, and a sample that is loaded as a whole', async () => {
  const empty = await Service.start();
  try {
    await onPage(browser, empty, {}, async (page) => {
      const count = async () => (await empty.call('GET', COLLECTION)).value.length;
      const text = page.getByRole('region', { name: 'There are no configurations yet' }).locator('code');
      await open(page, empty);
      await counted(page, '0 configurations');
      for (const [size, viewport] of [['wide', WIDE], ['narrow', NARROW]]) {
        for (const colorScheme of ['light', 'dark']) {
          await page.setViewportSize(viewport);
          await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
          await isUsable(page, `an empty store, ${size}, ${colorScheme}`);
          await picture(page, `empty-${size}-${colorScheme}`);
        }
      }
      await page.setViewportSize(WIDE);
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await page.getByRole('button', { name: 'Copy the first request' }).click();
      await status(page, 'Copied.');
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await text.textContent());
      await page.context().clearPermissions();

      // Another client takes an id of the sample while the page shows an empty store.
      const { value } = JSON.parse(await (await fetch(`${empty.origin}/console/sample.json`)).text());
      await empty.create('iosCustomConfiguration', 'In the way', { id: value[7].id });
      await page.getByRole('button', { name: SAMPLE }).click();
      const alert = page.getByRole('alert').filter({ hasText: 'Conflict' });
      await alert.waitFor();
      assert.match(await alert.innerText(), /Another device configuration has the id[\s\S]*409[\s\S]*request-id [0-9a-f-]{36}/);
      await isUsable(page, 'a refused sample');
      await picture(page, 'empty-refused');
      assert.equal(await count(), 1);
      await empty.call('DELETE', `${COLLECTION}/${value[7].id}`);

      // With the keyboard: from the field of the search to the button.
      await page.getByLabel('Assigned to group').focus();
      const focused = () => page.evaluate(() => document.activeElement.id);
      for (let steps = 0; steps < 10 && await focused() !== 'sample'; steps += 1) await page.keyboard.press('Tab');
      assert.equal(await focused(), 'sample');
      const other = await page.context().newPage();
      await open(other, empty);
      await other.getByRole('button', { name: SAMPLE }).waitFor();
      await page.keyboard.press('Enter');
      await counted(page, '8 configurations');
      assert.deepEqual((await names(page)).sort(), value.map(({ displayName }) => displayName).sort());
      assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
      assert.equal(await page.getByRole('button', { name: SAMPLE }).count(), 0);
      await picture(page, 'sample');
      // The same button again, in a page that still shows an empty store.
      await other.getByRole('button', { name: SAMPLE }).click();
      await counted(other, '8 configurations');
      assert.equal(await count(), 8);

      // A search without a result does not look like an empty store.
      await search(page, 'nothing has this name');
      await counted(page, '0 configurations');
      assert.equal(await page.getByRole('button', { name: SAMPLE }).count(), 0);
    });
    await onPage(browser, empty, {}, async (page) => {
      for (const { id } of (await empty.call('GET', COLLECTION)).value) await empty.call('DELETE', `${COLLECTION}/${id}`);
      await open(page, empty);
      const first = JSON.parse(bash(await page.getByRole('main').locator('code').first().textContent()));
      assert.equal(first.displayName, 'My first configuration');
      await page.getByRole('button', { name: 'Search' }).click();
      await counted(page, '1 configuration');
    });
  } finally {
    await empty.stop();
  }
});

test('an empty store and a token: one that only reads is refused, one that writes loads the sample', async () => {
  const empty = await Service.start({ tokens: true });
  try {
    await onPage(browser, empty, { expected: [401], viewport: NARROW }, async (page) => {
      await open(page, empty);
      const enter = async (token) => {
        await page.getByLabel('Access token').fill(token);
        await page.getByRole('button', { name: 'Continue' }).click();
        await page.getByRole('button', { name: SAMPLE }).click();
      };
      await enter(empty.command('token', '--scope', 'DeviceManagementConfiguration.Read.All').trim());
      const alert = page.getByRole('alert').filter({ hasText: 'DeviceManagementConfiguration.ReadWrite.All' });
      await alert.waitFor();
      assert.match(await alert.innerText(), /403[\s\S]*request-id [0-9a-f-]{36}/);
      await isUsable(page, 'a refused sample, narrow');
      await picture(page, 'empty-token');
      assert.equal((await empty.call('GET', COLLECTION)).value.length, 0);
      await page.getByText('with your token in $TOKEN').waitFor();
      assert.match(await page.getByRole('main').locator('code').first().textContent(), /"Authorization: Bearer \$TOKEN"/);
      await page.getByRole('button', { name: 'Forget the token' }).click();
      await enter(empty.token);
      await counted(page, '8 configurations');
      await isUsable(page, 'the sample, narrow');
      await picture(page, 'sample-narrow');
    });
  } finally {
    await empty.stop();
  }
});

test('a type that the catalogue lacks is refused, and the way back works', () => onPage(browser, service, { expected: [400] }, async (page) => {
  await open(page, service, '#/configurations?type=noSuchType');
  await page.getByRole('alert').filter({ hasText: "A type named 'microsoft.graph.noSuchType' could not be resolved" }).waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Configurations' }).click();
  await counted(page, `${MANY + 2} configurations`);
}));

test('an accepted type that the catalogue lacks is a choice while the address asks for it', async () => {
  const accepting = await Service.start({ settings: { DEVICEGRAPH__CATALOGUE__UNKNOWN_TYPES: 'accept' } });
  try {
    await onPage(browser, accepting, {}, async (page) => {
      const type = page.getByLabel('Type');
      await open(page, accepting);
      await counted(page, '0 configurations');
      const offered = await type.locator('option').count();
      assert.ok(offered > 100, `${offered}`);
      for (const name of ['noSuchType', 'another']) {
        await open(page, accepting, `#/configurations?type=${name}`);
        await type.locator('option:checked', { hasText: name }).waitFor({ state: 'attached' });
        await counted(page, '0 configurations');
        assert.equal(await type.locator('option').count(), offered + 1);
      }
      await search(page, 'x');
      await page.waitForURL('**name=x**');
      assert.match(page.url(), /type=another/);
      await page.getByRole('link', { name: 'Show all' }).click();
      await counted(page, '0 configurations');
      await type.locator('option:checked', { hasText: 'another' }).waitFor({ state: 'detached' });
      assert.equal(await type.locator('option').count(), offered);
    });
  } finally {
    await accepting.stop();
  }
});

test('what is odd in a name stays text, and the command for it runs', () => onPage(browser, service, {}, async (page) => {
  await open(page);
  await counted(page, `${MANY + 2} configurations`);
  await page.getByText('Requests of this page').click();
  const answer = page.waitForResponse((response) => response.url().includes('tolower'));
  await search(page, ODD);
  await counted(page, '1 configuration');
  assert.deepEqual(await names(page), [ODD]);
  assert.equal(bash(await command(page)), await (await answer).text());
  const read = page.waitForResponse((response) => response.url().includes('deviceConfigurations/'));
  await page.getByRole('link', { name: ODD }).click();
  await heading(page, ODD);
  assert.equal(bash(await command(page)), await (await read).text());
  assert.equal(await page.title(), `${ODD} – devicegraph`);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy the command' }).first().click();
  await status(page, 'Copied.');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await command(page));
  await page.context().clearPermissions();
  // The command for a page, too: the service made its query.
  await open(page);
  await page.getByRole('link', { name: 'Next page' }).waitFor();
  const next = page.waitForResponse((response) => response.url().includes('skiptoken'));
  await page.getByRole('link', { name: 'Next page' }).click();
  await page.getByText('This is the last page.').waitFor();
  assert.equal(bash(await command(page)), await (await next).text());
}));

test('assignments: added, refused, removed', () => onPage(browser, service, { expected: [409] }, async (page) => {
  const path = await openNew(page, 'iosUpdateConfiguration', 'Assigned');
  await page.getByText('This configuration is not assigned.').waitFor();
  await page.getByLabel('Group id').fill(GROUP);
  await page.getByRole('button', { name: 'Add' }).click();
  await status(page, `Assigned to: Group ${GROUP}`);
  await page.getByRole('cell', { name: GROUP, exact: true }).waitFor();

  await page.getByLabel('Assign to').selectOption('exclusionGroupAssignmentTarget');
  await page.getByLabel('Group id').fill(GROUP);
  await page.getByRole('button', { name: 'Add' }).click();
  const alert = page.getByRole('alert');
  await alert.filter({ hasText: 'Conflict' }).waitFor();
  assert.match(await alert.innerText(), /already includes or excludes the group[\s\S]*Change or delete that assignment[\s\S]*409[\s\S]*request-id [0-9a-f-]{36}/);
  await picture(page, 'conflict');

  for (const [kind, id] of [['All devices'], ['All users'], ['Configuration Manager collection', 'SMS00001']]) {
    await page.getByLabel('Assign to').selectOption({ label: kind });
    if (id) await page.getByLabel('Collection id').fill(id);
    await page.getByRole('button', { name: 'Add' }).click();
    await status(page, `Assigned to: ${kind}`);
    await page.getByRole('button', { name: `Remove ${kind}` }).waitFor();
  }
  assert.equal((await service.call('GET', path)).value.length, 4);
  await page.getByText('Requests of this page').click();
  assert.equal(JSON.parse(bash(await page.locator('#request-list code', { hasText: 'SMS00001' }).first().textContent())).error.code, 'Conflict');

  await page.getByRole('button', { name: 'Remove All devices' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await service.call('GET', path)).value.length, 4);
  await page.getByRole('button', { name: 'Remove All devices' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await status(page, 'Removed: All devices');
  assert.equal((await service.call('GET', path)).value.length, 3);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'assignments');

  await open(page);
  await page.getByLabel('Assigned to group').fill(GROUP.toUpperCase());
  await page.getByRole('button', { name: 'Search' }).click();
  await counted(page, '1 configuration');
  await page.getByText('Group, All users, Configuration Manager collection').waitFor();
}));

test('with the keyboard alone', () => onPage(browser, service, {}, async (page) => {
  const path = await openNew(page, 'iosUpdateConfiguration', 'Only keys');
  const press = (key) => page.keyboard.press(key);
  const focused = () => page.evaluate(() => (document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText) || document.activeElement.id);
  const tabTo = async (what) => {
    for (let steps = 0; steps < 40; steps += 1) {
      await press('Tab');
      if (await focused() === what) return;
    }
    assert.fail(`Tab does not lead to ${what}`);
  };
  await open(page);
  await page.reload();
  await page.getByRole('link', { name: 'Next page' }).waitFor();
  await press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  await press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'view');
  await tabTo('name');
  await page.keyboard.type('only KEYS');
  await press('Enter');
  await counted(page, '1 configuration');
  await tabTo('Only keys');
  await press('Enter');
  await heading(page, 'Only keys');
  assert.equal(await focused(), 'Only keys');
  await tabTo('target-id');
  await page.keyboard.type(GROUP);
  await press('Enter');
  await status(page, 'Assigned to');
  assert.equal((await service.call('GET', path)).value.length, 1);
  // Around: from the field back to what stands before it.
  while (await focused() !== `Remove Group ${GROUP}`) await press('Shift+Tab');
  await press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal(await focused(), 'Cancel');
  await press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await focused(), `Remove Group ${GROUP}`);
  await press('Enter');
  await press('Tab');
  await press('Enter');
  await status(page, 'Removed');
  assert.equal((await service.call('GET', path)).value.length, 0);
}));

test('a token is asked for, kept in memory and forgotten', () => onPage(browser, guarded, { expected: [401] }, async (page) => {
  await open(page, guarded);
  await heading(page, 'Enter an access token');
  assert.equal(await page.getByRole('alert').count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  await isUsable(page, 'the question for a token');
  await picture(page, 'token');
  await page.getByLabel('Access token').fill('a.b.c');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('alert').filter({ hasText: 'InvalidAuthenticationToken' }).waitFor();
  await page.getByLabel('Access token').fill(` Bearer ${guarded.token}\n`);
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('link', { name: 'Behind a token' }).click();
  await heading(page, 'Behind a token');

  await page.getByText('Requests of this page').click();
  const text = await command(page);
  assert.match(text, /"Authorization: Bearer \$TOKEN"/);
  assert.equal(JSON.parse(bash(text, { TOKEN: guarded.token })).displayName, 'Behind a token');
  const kept = await page.evaluate(async () => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, document.cookie, history.state, await indexedDB.databases(), await caches.keys(),
  ]));
  assert.equal(kept, '[{},{},"",null,[],[]]');
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(![page.url(), await page.content()].some((shown) => shown.includes(guarded.token)));

  await page.reload();
  await page.getByLabel('Access token').fill(guarded.token);
  await page.getByRole('button', { name: 'Continue' }).click();
  await heading(page, 'Behind a token');
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await heading(page, 'Enter an access token');
}));

test('a token that only reads', () => onPage(browser, guarded, { expected: [401, 403] }, async (page) => {
  await open(page, guarded);
  await page.getByLabel('Access token').fill(guarded.command('token', '--scope', 'DeviceManagementConfiguration.Read.All').trim());
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('link', { name: 'Behind a token' }).click();
  await page.getByLabel('Assign to').selectOption({ label: 'All devices' });
  await page.getByRole('button', { name: 'Add' }).click();
  await page.getByRole('alert').filter({ hasText: 'DeviceManagementConfiguration.ReadWrite.All' }).waitFor();
  await isUsable(page, 'a refusal');
}));

test('the documentation of each version: an operation and a type', () => onPage(browser, service, {}, async (page) => {
  for (const [path, version, type] of [['/docs', 'v1.0', 'v1.iosUpdateConfiguration'], ['/docs?version=beta', 'beta', 'beta.windowsKioskConfiguration']]) {
    await page.goto(service.origin + path);
    assert.equal(await page.locator('nav a[aria-current]').innerText(), version);
    await page.locator('.opblock-tag').first().click();
    const create = page.locator('.opblock-post').first();
    assert.match(await create.innerText(), new RegExp(`/${version}/deviceManagement/deviceConfigurations`));
    await create.locator('.opblock-summary-control').click();
    await create.locator('.responses-inner').waitFor();
    // The types are below the operations. None of them is loaded before it is opened.
    await page.locator('section.models button').first().click();
    const schema = page.locator('section.models article').filter({ hasText: `${type}.request` }).first();
    await schema.locator('button').first().click();
    await schema.getByText('displayName').first().waitFor();
    await picture(page, `docs-${version}`);
  }
}));

test('what is not there says so', () => onPage(browser, service, { expected: [404] }, async (page) => {
  await open(page, service, '#/configurations/nothing');
  await page.getByRole('alert').filter({ hasText: 'ResourceNotFound' }).waitFor();
  await open(page, service, '#/elsewhere');
  await heading(page, 'This page does not exist');
}));

for (const [size, viewport] of [['wide', WIDE], ['narrow', NARROW]]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`everyone can use it: ${size}, ${colorScheme}`, () => onPage(browser, service, { viewport, colorScheme, reducedMotion: 'reduce' }, async (page) => {
      const look = async (what) => {
        await isUsable(page, `${what}, ${size}, ${colorScheme}`);
        await picture(page, `${what}-${size}-${colorScheme}`);
      };
      const { value: [{ id }] } = await service.call('GET', `${COLLECTION}?$filter=displayName eq 'Windows baseline'`);
      const targets = [
        { '@odata.type': '#microsoft.graph.groupAssignmentTarget', groupId: GROUP },
        { '@odata.type': '#microsoft.graph.allDevicesAssignmentTarget' },
      ];
      await service.call('POST', `${COLLECTION}/${id}/assign`, { assignments: targets.map((target) => ({ target })) });
      await open(page);
      await page.getByLabel('Type').selectOption('windows10CustomConfiguration');
      await page.getByRole('button', { name: 'Search' }).click();
      await counted(page, '1 configuration');
      await look('search');
      await page.getByRole('link', { name: 'Configurations' }).click();
      await page.getByRole('link', { name: 'Next page' }).waitFor();
      await look('list');
      await open(page, service, `#/configurations/${id}`);
      await heading(page, 'Windows baseline');
      for (const summary of await page.locator('summary').all()) await summary.click();
      await look('configuration');
      await page.getByRole('button', { name: 'Remove All devices' }).click();
      await look('question');
    }));
  }
}
