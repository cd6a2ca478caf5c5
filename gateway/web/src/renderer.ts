// Which of xterm.js' renderers draws: WebGL where there is a GPU, its DOM renderer everywhere else and whenever WebGL is
// lost.

import { WebglAddon } from '@xterm/addon-webgl';
import type { Terminal } from '@xterm/xterm';

/** What plays a GPU in software. The page is held up for each frame of it, several times as long as by the DOM renderer. */
const IN_SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

export function chooseRenderer(term: Terminal, host: HTMLElement): void {
  if (!hasGpu()) return;
  whenPixelsAreTrue(host, () => {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      term.loadAddon(webgl);
    } catch {
      // The DOM renderer is in place.
    }
  });
}

/**
 * The WebGL renderer trusts what the browser says of an element's device pixels. A browser that plays a phone, as
 * developers' tools do, says CSS pixels instead; half of the terminal would then be drawn outside of its canvas.
 */
function whenPixelsAreTrue(host: HTMLElement, then: () => void): void {
  const observer = new ResizeObserver(([entry]) => {
    observer.disconnect();
    const said = entry?.devicePixelContentBoxSize?.[0]?.inlineSize;
    const expected = host.clientWidth * window.devicePixelRatio;
    if (said === undefined || Math.abs(said - expected) <= 2) then();
  });
  try {
    observer.observe(host, { box: 'device-pixel-content-box' });
  } catch {
    // Without such a box xterm.js computes the pixels itself.
    then();
  }
}

function hasGpu(): boolean {
  const gl = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  // Not every browser says so by refusing the context; then it is in the name, which may have to be asked for twice.
  const names = [gl.RENDERER, gl.getExtension('WEBGL_debug_renderer_info')?.UNMASKED_RENDERER_WEBGL];
  return !names.some((name) => name !== undefined && IN_SOFTWARE.test(String(gl.getParameter(name))));
}
