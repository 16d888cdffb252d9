// chat.js: what a person does with the chat page. Started by run.py:
//   node chat.js CHROMIUM DIRECTORY ORIGIN PAGE-A PAGE-B PID-OF-EDGE-A PAGE-C PID-OF-EDGE-C
// Prints a line per claim and ends with `N passed, N failed`.
import path from 'node:path';
import { chromium } from 'playwright-core';

const [browserPath, directory, elsewhere, pageA, pageB, pidA, pageC, pidC] = process.argv.slice(2);
const WAIT_MS = 15000;
const wsOf = (page) => page.replace('http', 'ws') + '/ws';
const complaints = []; // of any page, at any time
let context;

function fail(text) {
  throw new Error(text);
}

async function tab(url) {
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.on('pageerror', (error) => complaints.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    // That a WebSocket failed is part of the story when an edge is killed.
    if (message.type() === 'error' && !/WebSocket connection to/.test(message.text())) {
      complaints.push(`console: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|data:)/.test(request.url())) complaints.push(`asked ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

// The first true value of a function of the page. waitForFunction would need eval, which
// the page's policy forbids.
async function until(page, look, argument) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const value = await page.evaluate(look, argument);
    if (value) return value;
    if (Date.now() > deadline) {
      fail(`still not so after ${WAIT_MS} ms: ${look.toString().slice(0, 60)} with ${argument}; ` +
           `the page says: ${(await page.innerText('body')).replace(/\s+/g, ' ').slice(0, 300)}`);
    }
    await page.waitForTimeout(50);
  }
}

async function isLive(page, edge) {
  await until(page, (name) => {
    const state = document.getElementById('state');
    return state.dataset.state === 'live' && state.textContent.includes(name);
  }, edge);
}

async function login(url, user, edge) {
  const page = await tab(url);
  await page.fill('#user', user);
  await page.click('#connect');
  await isLive(page, edge);
  return page;
}

async function send(page, to, text) {
  await page.fill('#to', to);
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

const shows = (page, from, text) => until(page, ([who, words]) =>
  [...document.querySelectorAll('#log li.theirs')].some((line) =>
    line.dataset.from === who && line.querySelector('.words').textContent === words), [from, text]);

const fate = (page, text) => until(page, (words) => {
  for (const line of document.querySelectorAll('#log li.mine')) {
    const span = line.querySelector('.fate');
    if (line.querySelector('.words').textContent === words && span && span.dataset.fate !== 'pending') {
      return `${span.dataset.fate} / ${span.textContent}`;
    }
  }
  return null;
}, text);

const device = (page) => page.textContent('#device');

const claims = [
  ['two tabs on two edges exchange messages', async () => {
    const alice = await login(`${pageA}/`, 'alice', 'edge-a');
    const bob = await login(`${pageB}/`, 'bob', 'edge-b');
    await send(alice, 'bob', 'hello across nodes');
    await shows(bob, 'alice', 'hello across nodes');
    const told = await fate(alice, 'hello across nodes');
    if (told !== 'sent / sent to 1 device') fail(told);
    await send(bob, 'alice', 'and back: grüße 🚉 <b>not bold</b>');
    await shows(alice, 'bob', 'and back: grüße 🚉 <b>not bold</b>');
    if (!(await alice.textContent('#node')).startsWith('edge-a.')) fail('the node is not shown');
  }],

  ['a send to an absent user says that it was rejected, and why', async () => {
    const carol = await login(`${pageA}/`, 'carol', 'edge-a');
    await send(carol, 'nobody-of-that-name', 'anybody?');
    const told = await fate(carol, 'anybody?');
    if (!told.startsWith('rejected / rejected: offline')) fail(told);
  }],

  ['one send reaches several users and names those it missed', async () => {
    const dave = await login(`${pageA}/`, 'dave', 'edge-a');
    const erin = await login(`${pageB}/`, 'erin', 'edge-b');
    const finn = await login(`${pageA}/`, 'finn', 'edge-a');
    await send(dave, 'erin, finn, ghost', 'to all of you');
    await shows(erin, 'dave', 'to all of you');
    await shows(finn, 'dave', 'to all of you');
    const told = await fate(dave, 'to all of you');
    if (told !== 'sent / sent to 2 devices; not to ghost (offline)') fail(told);
  }],

  ['several tabs of one user are several devices, and a reload keeps its device', async () => {
    const first = await login(`${pageA}/`, 'gina', 'edge-a');
    const second = await login(`${pageB}/`, 'gina', 'edge-b');
    const [one, two] = [await device(first), await device(second)];
    if (one === two) fail(`both are ${one}`);
    await second.reload();
    await isLive(second, 'edge-b');
    if (await device(second) !== two) fail('the reload changed the device');
    const hugo = await login(`${pageA}/`, 'hugo', 'edge-a');
    await send(hugo, 'gina', 'both of you');
    await Promise.all([shows(first, 'hugo', 'both of you'), shows(second, 'hugo', 'both of you')]);
  }],

  ['the same device in a second tab ends the first for good', async () => {
    const first = await login(`${pageA}/`, 'ivan', 'edge-a');
    const name = await device(first);
    const second = await tab(`${pageA}/`);
    await second.evaluate((value) => sessionStorage.setItem('device', value), name);
    await second.fill('#user', 'ivan');
    await second.click('#connect');
    await isLive(second, 'edge-a');
    await first.waitForSelector('#state[data-state="ended"]');
    await first.waitForTimeout(1500);
    if (await first.getAttribute('#state', 'data-state') !== 'ended') fail('it came back');
    await isLive(second, 'edge-a');
    await first.click('#connect'); // as a new device now, which harms nobody
    await isLive(first, 'edge-a');
    await isLive(second, 'edge-a');
  }],

  ['a page served from elsewhere works with the edge it is told', async () => {
    const julia = await login(`${elsewhere}/?edge=${encodeURIComponent(wsOf(pageB))}`, 'julia', 'edge-b');
    const kurt = await tab(`${elsewhere}/?user=kurt&edge=${encodeURIComponent(wsOf(pageA))}`);
    await isLive(kurt, 'edge-a');
    await send(kurt, 'julia', 'from another server');
    await shows(julia, 'kurt', 'from another server');
  }],

  ['log out ends the session and log in starts a new one', async () => {
    const lena = await login(`${pageA}/`, 'lena', 'edge-a');
    await lena.click('#leave');
    await lena.waitForSelector('#login:visible');
    const mona = await login(`${pageB}/`, 'mona', 'edge-b');
    await send(mona, 'lena', 'gone?');
    const told = await fate(mona, 'gone?');
    if (!told.startsWith('rejected')) fail(told);
    await lena.fill('#user', 'lena-again');
    await lena.press('#user', 'Enter');
    await isLive(lena, 'edge-a');
  }],

  ['a tab of an edge that leaves moves to the one it is told, though it knows no other', async () => {
    const pia = await tab(`${elsewhere}/?user=pia&edge=${encodeURIComponent(wsOf(pageC))}`);
    await isLive(pia, 'edge-c');
    const quentin = await login(`${pageB}/`, 'quentin', 'edge-b');
    process.kill(Number(pidC), 'SIGTERM');
    await until(pia, () => {
      const state = document.getElementById('state');
      return state.dataset.state === 'live' && /edge-[ab]/.test(state.textContent);
    });
    await send(quentin, 'pia', 'moved?');
    await shows(pia, 'quentin', 'moved?');
  }],

  ['a tab of a killed edge comes back on the next of its list and is reachable', async () => {
    const both = encodeURIComponent(`${wsOf(pageA)} ${wsOf(pageB)}`);
    const nora = await tab(`${elsewhere}/?user=nora&edge=${both}`);
    await isLive(nora, 'edge-a');
    const otto = await login(`${pageB}/`, 'otto', 'edge-b');
    process.kill(Number(pidA), 'SIGKILL');
    await isLive(nora, 'edge-b');
    await send(otto, 'nora', 'there you are');
    await shows(nora, 'otto', 'there you are');
    const told = await fate(otto, 'there you are');
    if (told !== 'sent / sent to 1 device') fail(told);
  }],
];

// With SCREENSHOTS=DIRECTORY, what each claim left on its pages: one light and wide, one dark and narrow.
async function picture(name) {
  for (const [number, page] of context.pages().slice(1).entries()) {
    const isOdd = number % 2 === 1;
    await page.bringToFront();
    await page.emulateMedia({ colorScheme: isOdd ? 'dark' : 'light' });
    await page.setViewportSize({ width: isOdd ? 400 : 800, height: 600 });
    const file = path.join(process.env.SCREENSHOTS, `${name}-${number}.png`);
    await page.screenshot({ path: file, timeout: 5000 }).catch((error) => console.log(error.message.split('\n')[0]));
  }
}

let passed = 0;
let failed = 0;
context = await chromium.launchPersistentContext(path.join(directory, 'profile'), {
  executablePath: browserPath,
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});
try {
  for (const [claim, act] of claims) {
    complaints.length = 0;
    let wrong = null;
    try {
      await act();
    } catch (error) {
      wrong = error.message.split('\n')[0];
    }
    if (!wrong && complaints.length > 0) wrong = complaints.join('; ');
    if (process.env.SCREENSHOTS) await picture(wrong ? `failed-${failed}` : `passed-${passed}`);
    for (const page of context.pages().slice(1)) await page.close();
    if (wrong) failed++;
    else passed++;
    console.log(`  ${wrong ? 'failed' : 'passed'} ${claim}${wrong ? `: ${wrong}` : ''}`);
  }
} finally {
  await context.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
