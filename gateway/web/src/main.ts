// Starts the page: reads the address, makes the parts, joins them, hands over.

import '@xterm/xterm/css/xterm.css';
import './style.css';
import { readAddress } from './address';
import { Beside, focusNews } from './beside';
import { copyText } from './clipboard';
import { Connection, type ConnectionState, type SocketLike } from './connection';
import { CopyPaste } from './copy-paste';
import { Embedding, asksForToken, windowAround } from './embed';
import { TouchKeys } from './keys';
import { People } from './people';
import { Preferences } from './preferences';
import { ProgramCopy, listenForCopies } from './program-copy';
import { Search, loadSearch } from './search';
import { TerminalSession } from './session';
import { Settings } from './settings';
import { Share, askForLink } from './share';
import { Status } from './status';
import { TabStore } from './storage';
import { TerminalView } from './terminal';
import { Theme } from './theme';
import { followVisualViewport } from './viewport';
import { watchForSleep } from './wake';

const UNANSWERED_LOOK_MS = 2_000;
const USUAL_FONT_PX = window.matchMedia('(max-width: 600px)').matches ? 12 : 14;

const address = readAddress(window.location);
// Before anything else: the token must not stay where a look over the shoulder, the history or a screenshot finds it.
if (window.location.search !== '') window.history.replaceState(null, '', window.location.pathname + address.lasting);
followVisualViewport();

const host = document.getElementById('terminal')!;
const store = new TabStore(address.sessionId);
const status: Status = new Status(() => connection.retryNow());
const view: TerminalView = new TerminalView(host, {
  onInput: (bytes, typed) => session.input(bytes, typed),
  onSelection: (selected) => status.selection(selected),
  onTitle: (title) => status.title(title),
  onLinkHover: (uri) => status.linkHint(uri),
}, USUAL_FONT_PX);
const theme = new Theme((colours) => view.setTheme(colours));
const preferences = new Preferences({
  theme: 'system',
  fontPx: null,
  screenReader: false,
  // Where people expect their system's menu of a terminal.
  rightClickPastes: !/mac/i.test(navigator.platform),
});
const embedding = embed();
const people: People = new People((leave) => session.takeOver(leave), (text) => status.say(text));
const share = new Share({ ask: () => askForLink(address.shareUrl, store.get().pageToken ?? ''), closed: () => view.term.focus() });
const beside = new Beside({ address, status, store, session: () => session, focus: () => view.focus() });
const session: TerminalSession = new TerminalSession(view, status, store, people, {
  visible: () => document.visibilityState === 'visible',
  changed: () => share.offer(session.canShare),
  lost: (bytes) => beside.kept.lost(bytes),
  deadline: (deadline) => (deadline ? beside.time.set(deadline) : beside.time.stop()),
});
const connection: Connection = new Connection({
  url: address.socketUrl,
  token: address.token,
  pageRefusal: document.querySelector<HTMLMetaElement>('meta[name=cliscale-refusal]')?.content ?? '',
  store,
  openSocket: (url, protocols) => new WebSocket(url, protocols) as SocketLike,
  hello: () => session.hello(),
  onFrame: (message) => {
    session.frame(message);
    report();
  },
  onState: showState,
});
session.use(connection);

function showState(state: ConnectionState): void {
  if (state.kind === 'open') session.connected(state.wire);
  else session.disconnected(state.kind === 'refused' && state.slug === 'sent_away');
  if (embedding !== null && asksForToken(state)) {
    status.connection({ kind: 'connecting', attempt: 0 });
    status.waiting('Waiting for the site around this terminal to let you in');
  } else {
    status.connection(state);
  }
  if (state.kind === 'ended' && !session.exit) status.ended(null);
  report();
  if (asksForToken(state)) embedding?.ask(state.slug);
  else embedding?.settled();
}

/** Joins the page to the site around it, where its address asks for that. */
function embed(): Embedding | null {
  const around = address.embed === null ? null : windowAround();
  if (address.embed === null || around === null) return null;
  document.body.dataset.embed = '';
  if (address.embed.bar) document.body.dataset.bar = '';
  const explain = () => status.connection(connection.state);
  const site: Embedding = new Embedding({
    session: address.sessionId,
    around,
    enter: (token, kept) => {
      if (kept !== null) store.adopt(kept);
      if (token !== null) connection.useToken(token);
      else if (!asksForToken(connection.state)) return;
      else if (store.get().ticket !== null) connection.connect();
      else explain();
    },
    focus: () => view.focus(),
    theme: (choice) => preferences.impose({ theme: choice }),
    font: (px) => preferences.impose({ fontPx: px }),
    unanswered: explain,
  });
  status.titled = (title) => site.titled(title);
  store.keepElsewhere((kept) => site.keep(kept));
  window.addEventListener('message', (event) => site.receive(event));
  return site;
}

function report(): void {
  embedding?.report({ connection: connection.state, stage: session.stage, role: session.role, exit: session.exit });
}

function listenToPage(): void {
  const keys = new TouchKeys(document.getElementById('keys')!, view.term);
  view.typedFilter = (text) => keys.filter(text);
  new CopyPaste({ term: view.term, host, notice: (text) => status.notice(text), rightClick: () => preferences.get().rightClickPastes });
  const copies = new ProgramCopy({
    consent: () => store.get().copies ?? null,
    keep: (consent) => store.keepCopyConsent(consent),
    copy: copyText,
    say: (text) => status.notice(text),
    done: () => view.focus(),
  });
  listenForCopies(view.term, (text) => {
    if (view.isAsked) void copies.offer(text);
  });
  offerMenu();
  new ResizeObserver(() => session.sizing.pageResized()).observe(host);
  listenToNetwork();
}

/** Search, what the person chooses, and the keys to both. */
function offerMenu(): void {
  const { term } = view;
  const search = new Search({ term, load: () => loadSearch(term), colours: () => theme.search, failed: (text) => status.notice(text) });
  const settings = new Settings({
    preferences,
    usualFontPx: USUAL_FONT_PX,
    search: () => search.open(),
    entries: beside.entries,
    opened: () => beside.offerEntries(),
    closed: () => view.focus(),
  });
  preferences.follow((chosen) => {
    theme.choose(chosen.theme);
    view.setScreenReader(chosen.screenReader);
    view.setFont(chosen.fontPx ?? USUAL_FONT_PX);
    session.sizing.pageResized();
    search.recolour();
  });
  window.addEventListener('storage', (event) => preferences.storedElsewhere(event.key));
  const keys: Record<string, () => void> = { KeyF: () => search.open(), Comma: () => settings.open(), Period: () => focusNews() };
  // Before the terminal, wherever on the page the focus is.
  window.addEventListener('keydown', (event) => {
    const action = event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey ? keys[event.code] : undefined;
    if (!action || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }, { capture: true });
}

/** What hints at a connection that is lost, or possible again, before the connection itself can know. */
function listenToNetwork(): void {
  const lookForSleep = watchForSleep(() => connection.networkChanged());
  window.addEventListener('offline', () => status.offline(true));
  window.addEventListener('online', () => {
    status.offline(false);
    connection.networkChanged();
  });
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    lookForSleep();
    connection.retryUnasked();
    session.keyboard.seen();
  });
  setInterval(() => {
    if (session.unanswered) connection.networkChanged();
  }, UNANSWERED_LOOK_MS);
  status.offline(!navigator.onLine);
}

listenToPage();
embedding?.start();
if (embedding?.allowed === false) status.connection({ kind: 'refused', slug: 'forbidden_origin', retry: false });
else connection.connect();
// Another site's page gives its frame the focus when it wants to.
if (embedding === null && connection.state.kind !== 'refused') view.focus();

/** For tests: the terminal's buffer, and where the page stands. */
Object.assign(window, {
  __cliscale: {
    term: view.term,
    state: () => ({
      connection: connection.state,
      stage: session.stage,
      role: session.role,
      presence: session.presence,
      sid: session.stream.streamId,
      offset: session.stream.offset,
      exit: session.exit,
      drained: view.drained,
      letterboxed: view.letterboxed,
      renderer: host.querySelector('.xterm-rows') ? 'dom' : 'webgl',
    }),
  },
});
