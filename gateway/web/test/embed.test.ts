// What the page says to the site around it and takes from it: exact origins, nothing twice, nothing malformed.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import cargo from '../../../Cargo.toml?raw';
import { CliscaleTerminalElement } from '../element/src';
import { readFromTerminal, readToTerminal, toSend } from '../element/src/messages';
import manifest from '../element/package.json';
import { Embedding, asksForToken, type Around, type Standing } from '../src/embed';

const APP = 'https://app.example';
const OTHER = 'https://other.example';

function setUp(around: Partial<Around> = {}) {
  const parent = { postMessage: vi.fn() };
  const deps = { enter: vi.fn(), focus: vi.fn(), theme: vi.fn(), font: vi.fn(), unanswered: vi.fn() };
  const embedding = new Embedding({ session: 's', around: { parent, listed: [OTHER, APP], told: APP, referrer: '', ...around }, ...deps });
  const hear = (data: unknown, origin = APP, source: unknown = parent) =>
    embedding.receive({ data, origin, source: source as MessageEventSource });
  const said = () => parent.postMessage.mock.calls.map(([message, origin]) => [origin, message.type]);
  return { embedding, parent, deps, hear, said };
}

const token = (value: string | null, kept?: string) => toSend({ type: 'token', token: value, ...(kept === undefined ? {} : { kept }) });

describe('the page in a frame', () => {
  it('speaks to the origin that the browser names, if it is on the list', () => {
    const listed = setUp();
    listed.embedding.start();
    expect(listed.embedding.allowed).toBe(true);
    expect(listed.parent.postMessage.mock.calls).toEqual([[{ type: 'ready', session: 's', source: 'cliscale', version: 1 }, APP]]);
    const stranger = setUp({ told: 'https://evil.example' });
    stranger.embedding.start();
    expect(stranger.embedding.allowed).toBe(false);
    expect(stranger.said()).toEqual([]);
  });

  it('speaks to each of the list where the browser names none, and to one once that has answered', () => {
    const { embedding, hear, said } = setUp({ told: null });
    embedding.start();
    expect(said()).toEqual([[OTHER, 'ready'], [APP, 'ready']]);
    hear(token('t'));
    embedding.titled('vi');
    expect(said().slice(2)).toEqual([[APP, 'title']]);
    const referred = setUp({ told: null, referrer: `${APP}/page` });
    referred.embedding.start();
    expect(referred.said()).toEqual([[APP, 'ready']]);
  });

  it('hears its parent only, of an origin on the list, and always the same', () => {
    const { deps, hear } = setUp({ told: null });
    hear(token('evil'), 'https://evil.example');
    hear(token('evil'), `${APP}:8443`);
    hear(token('evil'), 'null');
    hear(token('sibling'), APP, {});
    expect(deps.enter).not.toHaveBeenCalled();
    hear(token('good', 'kept'));
    hear(token('late'), OTHER);
    expect(deps.enter.mock.calls).toEqual([['good', 'kept']]);
  });

  it('takes what it understands and ignores the rest', () => {
    const { deps, hear } = setUp();
    for (const nothing of [null, 7, 'token', {}, { type: 'token', token: 't' }, { ...token('t'), version: 2 }, { ...token('t'), token: 7 }, toSend({ type: 'theme', theme: 'pink' as 'dark' }), toSend({ type: 'font', size: NaN })]) {
      hear(nothing);
    }
    for (const called of Object.values(deps)) expect(called).not.toHaveBeenCalled();
    hear(toSend({ type: 'focus' }));
    hear(toSend({ type: 'theme', theme: 'light' }));
    hear(toSend({ type: 'font', size: null }));
    hear(token(''));
    expect([deps.focus, deps.theme, deps.font, deps.enter].map((called) => called.mock.calls)).toEqual([[[]], [['light']], [[null]], [[null, null]]]);
  });

  it('tells how it stands when that changes, and of the exit once', () => {
    const { embedding, parent } = setUp();
    const standing: Standing = { connection: { kind: 'connecting', attempt: 0 }, stage: null, role: 'operator', exit: null };
    embedding.report(standing);
    embedding.report({ ...standing, connection: { kind: 'connecting', attempt: 1 } });
    embedding.report({ ...standing, connection: { kind: 'refused', slug: 'idle', retry: true } });
    const ended: Standing = { ...standing, connection: { kind: 'ended' }, stage: 'ended', exit: { code: 3, signal: null, reason: 'exited', end: 9, message: null } };
    embedding.report(ended);
    embedding.report(ended);
    expect(parent.postMessage.mock.calls.map(([message]) => message)).toEqual([
      toSend({ type: 'state', state: 'connecting', stage: null, role: 'operator', reason: null }),
      toSend({ type: 'state', state: 'refused', stage: null, role: 'operator', reason: 'idle' }),
      toSend({ type: 'state', state: 'ended', stage: 'ended', role: 'operator', reason: null }),
      toSend({ type: 'exit', code: 3, signal: null, reason: 'exited' }),
    ]);
    for (const [message] of parent.postMessage.mock.calls) expect(readFromTerminal(message)).toMatchObject({ type: message.type });
  });

  describe('that has no way in', () => {
    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => void vi.useRealTimers());

    it('asks, and explains itself where nobody answers', () => {
      const { embedding, deps, hear, said } = setUp();
      embedding.ask('token_missing');
      expect(said()).toEqual([[APP, 'token-needed']]);
      vi.advanceTimersByTime(60_000);
      expect(deps.unanswered).toHaveBeenCalledOnce();
      embedding.ask('token_expired');
      hear(token('t'));
      vi.advanceTimersByTime(60_000);
      expect(deps.unanswered).toHaveBeenCalledOnce();
    });

    it('asks only where a token would help', () => {
      const refused = (slug: string) => asksForToken({ kind: 'refused', slug, retry: false });
      for (const slug of ['token_missing', 'token_used', 'token_expired', 'ticket_expired', 'ticket_reused', 'connection_lost']) expect(refused(slug)).toBe(true);
      for (const slug of ['session_unknown', 'session_ended', 'taken_over', 'forbidden_origin', 'too_many_connections']) expect(refused(slug)).toBe(false);
    });
  });
});

describe('the messages', () => {
  it('are read without what is not known', () => {
    expect(readToTerminal({ ...token('t'), more: 1 })).toEqual({ type: 'token', token: 't', kept: null });
    expect(readFromTerminal({ ...toSend({ type: 'title', title: 'a' }), more: 1 })).toEqual({ type: 'title', title: 'a' });
    expect(readFromTerminal(toSend({ type: 'keep', kept: null }))).toEqual({ type: 'keep', kept: null });
    for (const wrong of [{ type: 'state', state: 'open' }, { type: 'exit', code: 'x', signal: null, reason: '' }, { type: 'title' }, { type: 'constructor' }]) {
      expect(readFromTerminal({ ...wrong, source: 'cliscale', version: 1 })).toBeNull();
    }
  });
});

describe('the package', () => {
  it('can be imported where there is no DOM, and its events have types', () => {
    expect(globalThis.customElements).toBeUndefined();
    const listen = (terminal: CliscaleTerminalElement): void => {
      terminal.addEventListener('exit', ({ detail }) => detail.code satisfies number | null);
      terminal.addEventListener('state', ({ detail }) => detail.state satisfies 'connecting' | 'open' | 'waiting' | 'refused' | 'ended');
      terminal.addEventListener('click', (event) => event.clientX satisfies number);
      terminal.getToken = async (reason) => (reason === 'token_missing' ? 'token' : null);
    };
    expect(listen).toBeTypeOf('function');
  });

  it('has the version of the project', () => {
    expect(manifest.version).toBe(/^\[workspace\.package\]\nversion = "(.*)"/m.exec(cargo)?.[1]);
  });
});
