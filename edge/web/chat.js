// The chat page: one user, one WebSocket, plain JSON (subprotocol switchyard.v1.json).
//
// Address: ?user=NAME logs in at once; ?edge=ws://host:port/ws, also several separated by
// spaces or commas, chooses edges (default: the one that served the page). Each tab is a
// device of its own: its name is kept in sessionStorage and survives a reload.
//
// A connection that ends is made again after a pause that doubles up to PAUSE_MAX_MS, with
// full jitter, at the next edge of the list. It is not made again after Log out and
// after a terminal close code (1000, 4000-4099): coming back would end the same way.
'use strict';

const SUBPROTOCOL = 'switchyard.v1.json';
const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 10000;
// A Ping unanswered for so long means that the connection is dead.
const PONG_MS = 10000;
const LOG_LINES = 500;
const CLOSES = {
  4000: 'the edge did not understand this page',
  4001: 'this device logged in again, perhaps in another tab',
  4002: 'the edge refused the login',
  4003: 'no login in time',
  4004: 'the token has expired',
  4005: 'the edge got something out of order',
};

const at = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

function remembered(key, make) {
  let value = null;
  try {
    value = sessionStorage.getItem(key);
    if (value === null && make) {
      value = make();
      sessionStorage.setItem(key, value);
    }
  } catch {
    // Storage may be forbidden; then a reload is a new device.
  }
  return value ?? (make ? make() : '');
}

function remember(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

function newDevice() {
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return 'tab-' + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function defaultEdge() {
  if (!location.protocol.startsWith('http')) return 'ws://127.0.0.1:8000/ws';
  return (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/ws';
}

// ---- what is seen ----

function show(state, text) {
  at('state').dataset.state = state;
  at('state').textContent = text;
  const live = state === 'live';
  at('session').hidden = !live;
  at('compose').hidden = state === 'idle' || state === 'ended';
  at('send').disabled = !live;
  at('login').hidden = !(state === 'idle' || state === 'ended');
}

// Changes the log; whoever reads its end keeps seeing the end.
function changeLog(change) {
  const log = at('log');
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change(log);
  if (follows) log.scrollTop = log.scrollHeight;
}

function addLine(kind, who, words) {
  const line = document.createElement('li');
  line.className = kind;
  for (const [name, text] of [['who', who], ['words', words]]) {
    if (!text) continue;
    const span = document.createElement('span');
    span.className = name;
    span.textContent = text;
    line.append(span);
  }
  changeLog((log) => {
    log.append(line);
    while (log.children.length > LOG_LINES) log.firstElementChild.remove();
  });
  return line;
}

const note = (text) => addLine('note', '', text);

function setFate(line, fate, text) {
  changeLog(() => {
    let span = line.querySelector('.fate');
    if (!span) {
      span = document.createElement('span');
      span.className = 'fate';
      line.append(span);
    }
    span.dataset.fate = fate;
    span.textContent = text;
  });
}

const reasonName = (reason) => String(reason || 'REASON_UNSPECIFIED').replace('REASON_', '').toLowerCase();

function describe(outcome) {
  if (outcome.status !== 'OUTCOME_STATUS_SENT') {
    return ['rejected', `rejected: ${reasonName(outcome.reason)}, ${outcome.text || ''}`];
  }
  const devices = outcome.devices || 0;
  const missed = (outcome.unreached || []).map((one) => `${one.user} (${reasonName(one.reason)})`);
  const tail = missed.length > 0 ? `; not to ${missed.join(', ')}` : '';
  return ['sent', `sent to ${devices} ${devices === 1 ? 'device' : 'devices'}${tail}`];
}

function wordsOf(message) {
  if (message.body !== undefined) {
    return `[${Math.floor(message.body.length * 3 / 4)} bytes of ${message.contentType || 'data'}]`;
  }
  return message.text || '';
}

// ---- the connection ----

class Line {
  constructor(user, edges, token) {
    this.user = user;
    this.edges = edges;
    this.token = token;
    this.turn = 0; // which of the edges comes next
    this.given = null; // the one an edge that leaves has named
    this.failures = 0;
    this.waiting = new Map(); // id -> the line of a send without an outcome
    this.lastId = 0;
    this.isWanted = true;
    this.open();
  }

  open() {
    const url = this.given || this.edges[this.turn++ % this.edges.length];
    this.given = null;
    show('connecting', `connecting to ${url}`);
    let socket;
    try {
      socket = new WebSocket(url, SUBPROTOCOL);
    } catch (error) {
      this.end(`cannot use the address ${url}: ${error.message}`);
      return;
    }
    this.socket = socket;
    this.url = url;
    this.returnAt = null;
    const ours = (handler) => (event) => {
      if (this.socket === socket) handler(event);
    };
    socket.onopen = ours(() => this.hello());
    socket.onmessage = ours((event) => this.onFrame(event.data));
    socket.onclose = ours((event) => this.onClose(event.code));
  }

  command(kind, fields) {
    const id = String(++this.lastId);
    this.socket.send(JSON.stringify({ commands: [{ id, [kind]: fields }] }));
    return id;
  }

  hello() {
    const hello = { device: remembered('device', newDevice), deviceClass: 'web', client: 'switchyard-chat' };
    // With a token the user is the token's subject.
    if (this.token) hello.token = this.token;
    else hello.user = this.user;
    this.command('hello', hello);
  }

  onFrame(text) {
    const known = {
      welcome: (event) => this.onWelcome(event.welcome),
      message: (event) => this.onMessage(event.message),
      outcome: (event) => this.onOutcome(event.id, event.outcome),
      failure: (event) => this.onFailure(event.id, event.failure),
      goAway: (event) => this.onGoAway(event.goAway),
      pong: () => clearTimeout(this.pongTimer),
    };
    for (const event of JSON.parse(text).events || []) {
      for (const kind of Object.keys(event)) {
        if (known[kind]) known[kind](event);
      }
    }
  }

  onWelcome(welcome) {
    this.failures = 0;
    at('me').textContent = welcome.user;
    at('device').textContent = welcome.device;
    at('node').textContent = welcome.node;
    at('address').textContent = this.url;
    remember('user', this.user);
    show('live', `connected to ${welcome.node.split('.')[0]}`);
    note(`logged in as ${welcome.user} on ${welcome.node.split('.')[0]}` +
         (welcome.clustered ? '' : ', which runs alone: only its own users can be reached'));
    at('to').focus();
    this.pingTimer = setInterval(() => this.ping(), welcome.pingIntervalMs || 25000);
  }

  // The browser answers the edge's pings but hides them; ours find a dead line.
  ping() {
    this.command('ping', {});
    clearTimeout(this.pongTimer);
    this.pongTimer = setTimeout(() => {
      const socket = this.socket;
      this.onClose(1006);
      socket.close();
    }, PONG_MS);
  }

  onMessage(message) {
    const when = new Date(Number(message.sentAtMs || Date.now())).toLocaleTimeString();
    const line = addLine('theirs', `${message.from} · ${when}`, wordsOf(message));
    line.dataset.from = message.from;
    if (!at('to').value) at('to').value = message.from;
  }

  onOutcome(id, outcome) {
    const line = this.waiting.get(id);
    if (!line) return;
    this.waiting.delete(id);
    setFate(line, ...describe(outcome));
  }

  onFailure(id, failure) {
    const text = `${reasonName(failure.reason)}: ${failure.text || ''}`;
    const line = this.waiting.get(id);
    this.waiting.delete(id);
    if (line) setFate(line, 'rejected', `rejected: ${text}`);
    else note(text);
  }

  onGoAway(goAway) {
    note(goAway.text || 'this edge is leaving');
    this.returnAt = Date.now() + (goAway.reconnectAfterMs || 0);
    // Never from wss to ws.
    if (goAway.url && goAway.url.split(':')[0] === this.url.split(':')[0]) this.given = goAway.url;
  }

  send(to, text) {
    const line = addLine('mine', `to ${to.join(', ')}`, text);
    this.waiting.set(this.command('send', { to, text, contentType: 'text/plain' }), line);
    setFate(line, 'pending', 'sending');
  }

  quiet() {
    clearInterval(this.pingTimer);
    clearTimeout(this.pongTimer);
    clearTimeout(this.openTimer);
    for (const line of this.waiting.values()) {
      setFate(line, 'unknown', 'connection lost before the answer: it may have arrived');
    }
    this.waiting.clear();
  }

  onClose(code) {
    this.socket = null;
    this.quiet();
    if (!this.isWanted) return;
    if (code === 1000 || (code >= 4000 && code <= 4099)) {
      // The next login from this tab must not push out whoever has the name now.
      if (code === 4001) remember('device', newDevice());
      this.end(CLOSES[code] || `closed by the edge (${code})`);
      return;
    }
    const ceiling = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** this.failures);
    // Jitter, so that a thousand tabs do not come back in the same moment.
    // An edge that leaves has spread its clients itself.
    const pause = this.returnAt === null ? Math.round(Math.random() * ceiling)
                                         : Math.max(0, this.returnAt - Date.now());
    this.failures++;
    show('waiting', `connection lost (${code}), again in ${(pause / 1000).toFixed(1)} s`);
    this.openTimer = setTimeout(() => this.open(), pause);
  }

  // For good; the login form comes back.
  end(why) {
    this.isWanted = false;
    remember('user', '');
    show('ended', why);
    note(why);
  }

  leave() {
    this.isWanted = false;
    this.quiet();
    remember('user', '');
    if (this.socket) this.socket.close(1000);
    show('idle', 'not connected');
    at('user').focus();
  }
}

// ---- the forms ----

let line = null;

const listOf = (text, separators) => text.split(separators).map((part) => part.trim()).filter(Boolean);

function login() {
  const user = at('user').value.trim();
  const edges = listOf(at('edge').value, /[\s,]+/);
  if (!user || edges.length === 0) return;
  if (line) line.leave();
  line = new Line(user, edges, at('token').value.trim());
}

at('login').addEventListener('submit', (event) => {
  event.preventDefault();
  login();
});

at('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const to = listOf(at('to').value, ',');
  const text = at('text').value;
  if (!line || at('send').disabled || to.length === 0 || !text) return;
  line.send(to, text);
  at('text').value = '';
  at('text').focus();
});

at('leave').addEventListener('click', () => line && line.leave());

at('edge').value = query.get('edge') || defaultEdge();
at('user').value = query.get('user') || remembered('user');
if (at('user').value) login();
