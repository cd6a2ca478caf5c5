// What is read out of a recording, and what lets the page have it.
import { describe, expect, it, vi } from 'vitest';
import { clock, readCast, wholeLines } from '../src/player/cast';
import { enter } from '../src/player/entry';
import { TabStore } from '../src/storage';

const cast = (...events: unknown[]) => [{ version: 3, term: { cols: 80, rows: 24 } }, ...events].map((line) => JSON.stringify(line)).join('\n') + '\n';

describe('a recording', () => {
  it('has stages at the times that they are played at, and an end', () => {
    const read = readCast(cast([0.5, 'm', 'fetching'], [1, 'o', 'x'], [60, 'o', '"m"'], [0.5, 'm', 'running'], [1, 'r', '90x30'], [0, 'x', '7']));
    expect(read).toEqual({
      title: '',
      markers: [{ index: 0, label: 'fetching', time: 0.5 }, { index: 1, label: 'running', time: 5 }],
      duration: 6,
      empty: false,
      exit: '7',
    });
  });

  it('is taken as far as it has come', () => {
    const text = cast([1, 'o', 'x']) + '[1,"o","half';
    expect(wholeLines(text)).toBe(cast([1, 'o', 'x']));
    expect(readCast(cast())).toMatchObject({ empty: true, exit: null });
    expect(wholeLines('{"version"')).toBe('');
  });

  it.each(['', 'null', '<html>', '{"version":2}', '[]'])('is none where it is %j', (text) => expect(readCast(text)).toBeNull());

  it('survives lines that are none of its own', () => {
    expect(readCast(cast([1, 'o', 'x']) + '\n# comment\n["x","m"]\n[1e400,"m","far"]\n[-5,"m"]\n')).toMatchObject({ markers: [{ label: 'far' }, { label: '' }], duration: 4 });
  });

  it('has times as on a clock', () => expect([0, 65.9, 3605].map(clock)).toEqual(['0:00', '1:05', '1:00:05']));
});

describe('who may have it', () => {
  const answering = (status: number, body: object) => vi.fn(async () => new Response(JSON.stringify(body), { status }));
  const nobody = async () => null;
  const storage = () => {
    const kept = new Map<string, string>();
    return { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value) };
  };
  const base = { baseUrl: 'http://host/ws/id', opener: nobody };

  it('is whoever has a link, which is used up, and the tab that it was opened in', async () => {
    const own = storage();
    const ask = answering(200, { pageToken: 'p' });
    expect(await enter({ ...base, token: 't', store: new TabStore('id', own), ask })).toEqual({ kind: 'token', pageToken: 'p' });
    expect(ask).toHaveBeenCalledWith('http://host/ws/id/page-token', expect.objectContaining({ method: 'POST', headers: { Authorization: 'Bearer t' } }));
    const used = answering(401, { type: '/docs/errors/token_used' });
    expect(await enter({ ...base, token: null, store: new TabStore('id', own), ask: used })).toEqual({ kind: 'token', pageToken: 'p' });
    expect(used).not.toHaveBeenCalled();
    expect(await enter({ ...base, token: 't', store: new TabStore('id', own), ask: used })).toEqual({ kind: 'token', pageToken: 'p' });
    expect(await enter({ ...base, token: 't', store: new TabStore('id', storage()), ask: used })).toMatchObject({ refusal: { slug: 'token_used' } });
  });

  it('is the terminal’s page that opened it, and nobody else', async () => {
    const store = new TabStore('id', null);
    expect(await enter({ ...base, token: null, store, opener: async () => 'q' })).toEqual({ kind: 'token', pageToken: 'q' });
    expect(store.get().pageToken).toBe('q');
    expect(await enter({ ...base, token: null, store: new TabStore('id', null) })).toMatchObject({ refusal: { slug: 'token_missing' } });
    expect(await enter({ ...base, token: 't', store: new TabStore('id', null), ask: async () => Promise.reject(new TypeError()) })).toMatchObject({ kind: 'refused' });
  });
});
