// Keeps the page inside what a phone really shows: its keyboard shrinks the visual viewport, not the layout's.

export function followVisualViewport(): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const apply = () => {
    // Zoomed in by hand: the page must not run after the fingers.
    if (viewport.scale > 1.01) return;
    document.documentElement.style.setProperty('--page-height', `${viewport.height}px`);
    window.scrollTo(0, 0);
  };
  viewport.addEventListener('resize', apply);
  viewport.addEventListener('scroll', apply);
  apply();
}
