// What lets this page have the recording: the page token that the tab has, the one of the terminal's page that opened it,
// or a link's one-time token, which is exchanged for one.

import { readRefusal, unreachable, type Refusal } from '../refusals';
import type { TabStore } from '../storage';

/** What a page that was opened by the terminal's page asks it, and is answered. */
export const ASK = 'cliscale-page-token?';
const ANSWER = 'cliscale-page-token:';
const OPENER_MS = 2_000;
const ANSWER_MS = 20_000;

export type Entry = { kind: 'token'; pageToken: string } | { kind: 'refused'; refusal: Refusal };

export interface EntryDeps {
  baseUrl: string;
  /** Of the link. */
  token: string | null;
  store: TabStore;
  opener: () => Promise<string | null>;
  ask?: typeof fetch;
}

/** Never throws. A link's token comes first: it says what was opened. A link that was opened before is no hindrance in the same tab. */
export async function enter({ baseUrl, token, store, opener, ask = fetch }: EntryDeps): Promise<Entry> {
  const kept = store.get().pageToken;
  if (token !== null) {
    const entry = await exchange(baseUrl, token, ask);
    if (entry.kind === 'token') store.keepPageToken(entry.pageToken);
    if (entry.kind === 'token' || kept === null) return entry;
  }
  const pageToken = kept ?? (await opener());
  if (pageToken === null) return { kind: 'refused', refusal: { slug: 'token_missing', text: '', retryAfterMs: null } };
  store.keepPageToken(pageToken);
  return { kind: 'token', pageToken };
}

async function exchange(baseUrl: string, token: string, ask: typeof fetch): Promise<Entry> {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await ask(`${baseUrl}/page-token`, { method: 'POST', headers, credentials: 'omit', cache: 'no-store', signal });
    const body = await answer.text();
    if (!answer.ok) return { kind: 'refused', refusal: readRefusal(answer.status, body) };
    const { pageToken } = JSON.parse(body) as { pageToken?: unknown };
    if (typeof pageToken === 'string') return { kind: 'token', pageToken };
  } catch {
    // Said below.
  }
  return { kind: 'refused', refusal: unreachable() };
}

/** Asks the window that opened this one: a browser may keep storage from both. */
export function askOpener(opener: Pick<Window, 'postMessage'> | null, origin: string): Promise<string | null> {
  if (opener === null) return Promise.resolve(null);
  return new Promise((done) => {
    const late = setTimeout(() => finish(null), OPENER_MS);
    const listen = (event: MessageEvent) => {
      if (event.source !== opener || event.origin !== origin || typeof event.data !== 'string' || !event.data.startsWith(ANSWER)) return;
      finish(event.data.slice(ANSWER.length));
    };
    const finish = (token: string | null) => {
      clearTimeout(late);
      window.removeEventListener('message', listen);
      done(token);
    };
    window.addEventListener('message', listen);
    opener.postMessage(ASK, origin);
  });
}

/** The other side: answers the one window that it opened itself. */
export function answerOpened(opened: Window, origin: string, token: () => string | null): void {
  window.addEventListener('message', function answer(event) {
    if (event.source !== opened || event.origin !== origin || event.data !== ASK) return;
    window.removeEventListener('message', answer);
    const pageToken = token();
    if (pageToken !== null) opened.postMessage(ANSWER + pageToken, origin);
  });
}
