// The custom element <cliscale-terminal>: a CLI Scale terminal inside your page. A frame around the terminal's own page,
// and typed messages to and from exactly that page's origin. Importing this defines the element, in a browser.

import { readFromTerminal, toSend, type Exit, type FromTerminal, type Ready, type State, type ThemeChoice, type Title, type ToTerminal, type TokenNeeded } from './messages.js';

export type { Exit, LinkState, Ready, Role, State, ThemeChoice, Title, TokenNeeded } from './messages.js';

/** What a `failed` event tells. `unanswered`: the frame is not the terminal's page. `token`: `getToken` failed or gave none that is good. */
export interface Failure {
  reason: 'unanswered' | 'token';
  message: string;
}

export interface CliscaleTerminalEventMap extends HTMLElementEventMap {
  ready: CustomEvent<Ready>;
  state: CustomEvent<State>;
  exit: CustomEvent<Exit>;
  title: CustomEvent<Title>;
  'token-needed': CustomEvent<TokenNeeded>;
  failed: CustomEvent<Failure>;
}

/** Gives a token, or a terminalUrl that carries one. `reason`: what became of the last, `token_missing` if there was none. */
export type GetToken = (reason: string) => string | null | Promise<string | null>;

/** What the page in the frame may do: all that a terminal needs, and no leaving for another address on the top window. */
const SANDBOX = 'allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads';
/** From the frame's `load` event, which a page that refuses to be framed causes as well. */
const ANSWER_MS = 5_000;
/** Tokens that are asked for in a row without one being good. */
const MAX_ASKED = 4;
const OBSERVED = ['src', 'token', 'theme', 'font-size', 'bar'] as const;

// Importing this where there is no DOM, as when a page is rendered on a server, does nothing.
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

export class CliscaleTerminalElement extends Base {
  static readonly observedAttributes: readonly string[] = OBSERVED;

  /** Asked whenever the terminal needs a token and has not been given one. */
  getToken: GetToken | null = null;

  private frame: HTMLIFrameElement | null = null;
  private address: URL | null = null;
  private isReady = false;
  /** Not handed over yet: a token works once. */
  private unused: string | null = null;
  /** Why the terminal waits for a token; null while it does not. */
  private needed: string | null = null;
  /** What the terminal's page has had kept, to come back with: in this tab's storage, for its browser may give it none. */
  private kept: string | null = null;
  private keptOffered = false;
  private asked = 0;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private readonly hear = (event: MessageEvent) => this.receive(event);

  /** The terminal's address, `terminalUrl`. A token in it is taken out, and used. */
  get src(): string {
    return this.getAttribute('src') ?? '';
  }
  set src(value: string) {
    this.setAttribute('src', value);
  }

  /** A token, `sessionJWT`. It works once, so it is taken out of the attribute, and handed over when it is needed. */
  get token(): string | null {
    return this.unused;
  }
  set token(value: string | null) {
    this.offer(value);
  }

  get theme(): ThemeChoice {
    const theme = this.getAttribute('theme');
    return theme === 'dark' || theme === 'light' ? theme : 'system';
  }
  set theme(value: ThemeChoice) {
    this.setAttribute('theme', value);
  }

  /** In CSS pixels, 8 to 32; null is what suits the frame. */
  get fontSize(): number | null {
    const size = Number.parseFloat(this.getAttribute('font-size') ?? '');
    return Number.isFinite(size) ? size : null;
  }
  set fontSize(value: number | null) {
    if (value === null) this.removeAttribute('font-size');
    else this.setAttribute('font-size', String(value));
  }

  /** Whether the terminal shows its own bar: who is there, sharing, files, search, settings. */
  get bar(): boolean {
    return this.hasAttribute('bar');
  }
  set bar(value: boolean) {
    this.toggleAttribute('bar', value);
  }

  connectedCallback(): void {
    window.addEventListener('message', this.hear);
    this.load();
  }

  disconnectedCallback(): void {
    window.removeEventListener('message', this.hear);
    this.unload();
  }

  attributeChangedCallback(name: string, before: string | null, value: string | null): void {
    if (name === 'token') return this.offer(value);
    if (before === value) return;
    if (name === 'theme') return this.send({ type: 'theme', theme: this.theme });
    if (name === 'font-size') return this.send({ type: 'font', size: this.fontSize });
    const link = name === 'src' && value !== null ? splitLink(value) : null;
    if (link !== null) {
      this.unused = link.token;
      // Comes back here without the token.
      this.src = link.address;
    } else if (this.isConnected) {
      this.load();
    }
  }

  /** Gives the terminal the keys. */
  override focus(options?: FocusOptions): void {
    this.frame?.focus(options);
    this.send({ type: 'focus' });
  }

  /** Loads the terminal's page again, which comes back to the same screen. */
  reload(): void {
    if (this.isConnected) this.load();
  }

  private load(): void {
    this.unload();
    this.address = framed(this.src, this.bar);
    if (this.address === null) return;
    this.kept = readKept(this.address);
    this.frame = makeFrame(this.address, this.title || 'Terminal');
    this.frame.addEventListener('load', () => this.awaitReady());
    this.root.replaceChildren(this.frame);
  }

  private unload(): void {
    clearTimeout(this.silence);
    this.frame?.remove();
    this.frame = null;
    this.isReady = false;
    this.needed = null;
    this.asked = 0;
  }

  private get root(): ShadowRoot {
    if (this.shadowRoot !== null) return this.shadowRoot;
    const root = this.attachShadow({ mode: 'open' });
    // Not a style element: a site's content security policy may forbid those.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    return root;
  }

  /** A browser says nothing of a frame that was refused. The terminal's page is heard of before it is loaded. */
  private awaitReady(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      if (this.isReady || this.address === null) return;
      const { origin } = this.address;
      this.fail('unanswered', `${origin} does not answer. Either it cannot be reached, or it does not list ${window.location.origin} in CLISCALE_EMBED_ORIGINS.`);
    }, ANSWER_MS);
  }

  private receive(event: MessageEvent): void {
    if (this.frame === null || event.source !== this.frame.contentWindow || event.origin !== this.address?.origin) return;
    const message = readFromTerminal(event.data);
    if (message === null) return;
    if (message.type === 'keep') return this.keep(message.kept);
    if (message.type === 'ready') this.begin();
    if (message.type === 'state' && message.state === 'open') this.asked = 0;
    if (message.type === 'token-needed') this.needed = message.reason;
    this.tell(message);
    if (message.type === 'token-needed') void this.answer();
  }

  /** The page in the frame is there, for the first time or again. */
  private begin(): void {
    clearTimeout(this.silence);
    this.isReady = true;
    this.needed = null;
    this.keptOffered = false;
    if (this.hasAttribute('theme')) this.send({ type: 'theme', theme: this.theme });
    if (this.fontSize !== null) this.send({ type: 'font', size: this.fontSize });
  }

  private offer(token: string | null): void {
    if (token === null || token === '') return;
    this.unused = token;
    this.removeAttribute('token');
    void this.answer();
  }

  /** Gives the terminal what lets it in: what it had kept or an unused token, else what `getToken` gives. */
  private async answer(): Promise<void> {
    if (this.needed === null) return;
    const kept = this.keptOffered ? null : this.kept;
    this.keptOffered = true;
    if (this.unused !== null || kept !== null) return this.hand(this.unused, kept);
    // Whoever listens to `token-needed` may set `token`.
    if (this.getToken === null) return;
    if (this.asked++ >= MAX_ASKED) return this.fail('token', `none of ${MAX_ASKED} tokens was good`);
    const { frame } = this;
    let given: string | null = null;
    try {
      given = await this.getToken(this.needed);
    } catch (error) {
      this.fail('token', `getToken failed: ${error instanceof Error ? error.message : 'no error was given'}`);
    }
    // Meanwhile it may have been given another one, or be another frame.
    if (frame !== this.frame || this.needed === null) return;
    this.hand(given === null ? null : (splitLink(given)?.token ?? given), null);
  }

  private hand(token: string | null, kept: string | null): void {
    this.unused = this.needed = null;
    this.send({ type: 'token', token, kept });
  }

  private keep(kept: string | null): void {
    this.kept = kept;
    if (this.address !== null) storeKept(this.address, kept);
  }

  private send(message: ToTerminal): void {
    if (this.isReady && this.address !== null) this.frame?.contentWindow?.postMessage(toSend(message), this.address.origin);
  }

  private tell(message: Exclude<FromTerminal, { type: 'keep' }>): void {
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  private fail(reason: Failure['reason'], message: string): void {
    console.error(`<cliscale-terminal>: ${message}`);
    this.dispatchEvent(new CustomEvent<Failure>('failed', { detail: { reason, message } }));
  }
}

// Typed events, for addEventListener.
export interface CliscaleTerminalElement {
  addEventListener<K extends keyof CliscaleTerminalEventMap>(type: K, listener: (this: this, event: CliscaleTerminalEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof CliscaleTerminalEventMap>(type: K, listener: (this: this, event: CliscaleTerminalEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'cliscale-terminal': CliscaleTerminalElement;
  }
}

const STYLE = ':host { display: block; height: 24rem; } :host([hidden]) { display: none; } iframe { display: block; width: 100%; height: 100%; border: 0; }';

function makeFrame(address: URL, title: string): HTMLIFrameElement {
  const frame = document.createElement('iframe');
  frame.title = title;
  frame.setAttribute('part', 'frame');
  // Where these are refused, the terminal copies by the browser's old command, and is pasted to with the keyboard.
  frame.allow = 'clipboard-read; clipboard-write';
  frame.setAttribute('sandbox', SANDBOX);
  // By which the gateway explains to a site that it is not listed.
  frame.referrerPolicy = 'origin';
  frame.src = address.href;
  return frame;
}

/** Of a link with a token: both, apart. */
function splitLink(link: string): { address: string; token: string } | null {
  const address = parse(link);
  const token = address?.searchParams.get('token');
  if (!address || !token) return null;
  address.searchParams.delete('token');
  return { address: address.href, token };
}

/** The address of the page that is to be in the frame. */
function framed(src: string, bar: boolean): URL | null {
  const address = src === '' ? null : parse(src);
  if (address === null) return null;
  address.search = bar ? '?embed=1&bar=1' : '?embed=1';
  address.hash = '';
  return address;
}

function parse(address: string): URL | null {
  const base = globalThis.document?.baseURI;
  if (!URL.canParse(address, base)) return null;
  const url = new URL(address, base);
  return url.protocol === 'https:' || url.protocol === 'http:' ? url : null;
}

const keyOf = (address: URL) => `cliscale-terminal:${address.origin}${address.pathname}`;

function readKept(address: URL): string | null {
  try {
    return sessionStorage.getItem(keyOf(address));
  } catch {
    return null;
  }
}

function storeKept(address: URL, kept: string | null): void {
  try {
    if (kept === null) sessionStorage.removeItem(keyOf(address));
    else sessionStorage.setItem(keyOf(address), kept);
  } catch {
    // Forbidden or full: the element holds it until the page is left.
  }
}

if (globalThis.customElements && !customElements.get('cliscale-terminal')) {
  customElements.define('cliscale-terminal', CliscaleTerminalElement);
}
