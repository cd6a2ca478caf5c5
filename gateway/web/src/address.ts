// What the page's own address says: the session, the token, and where the terminal's WebSocket is.

export interface Address {
  sessionId: string;
  token: string | null;
  /** Without a query: the token is added by the one connection that uses it. */
  socketUrl: string;
  /** Where a link to watch with is asked for. */
  shareUrl: string;
}

export function readAddress(location: Pick<Location, 'protocol' | 'host' | 'pathname' | 'search'>): Address {
  const path = location.pathname.replace(/\/+$/, '');
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    sessionId: decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)),
    token: new URLSearchParams(location.search).get('token') || null,
    socketUrl: `${scheme}//${location.host}${path}`,
    shareUrl: `${location.protocol}//${location.host}${path}/share`,
  };
}
